"""Tests of stages/dialogues.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lm.corpus.dialogue import read_dialogues
from stages import dialogues, inputs
from stages.support import Stage
from tests.project import ROOT

LISTS = ["data_inputs", "dialogue_inputs", "tokenizer_inputs", "other_tokenizers", "pairs_inputs"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Gives the card of the dialogues that the stages make with some parameters."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def stage(main: Callable[[Stage], None], read: list[str], outs: list[str]) -> None:
        flags = [f"--{name.replace('_', '-')}={tmp_path / name}" for name in [*read, *outs]]
        monkeypatch.setattr("sys.argv", ["stage", f"--params={tmp_path / 'params.yaml'}", *flags])
        main(Stage("", dict.fromkeys(read, ""), dict.fromkeys(outs, "")))

    def card(**changes: Any) -> dict[str, Any]:
        yaml = YAML()
        params = yaml.load(ROOT / "params.yaml")
        params["dialogues"].update(changes)
        yaml.dump(params, tmp_path / "params.yaml")
        stage(inputs.main, [], LISTS)
        stage(dialogues.main, ["dialogue_inputs"], ["train", "valid", "card"])
        found: dict[str, Any] = json.loads((tmp_path / "card").read_text())
        return found

    return card


def test_files_become_dialogues_with_a_card(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [{"prompt": f"Question {i}?", "response": f"Answer {i}."} for i in range(5)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    (tmp_path / "held.json").write_text(json.dumps(pairs[:1]))
    card = run(source="files", train=["mine.jsonl"], valid=["held.json"])
    assert card["source"] == "files"
    assert card["files"] == {"train": ["mine.jsonl"], "valid": ["held.json"]}
    assert card["train"] == {"n_dialogues": 5, "n_messages": 10, "n_characters": 5 * 20, "questions": {}}
    assert capsys.readouterr().err == "warning: 1 of 1 validation dialogues are in the training dialogues too\n"
    texts = [[message.content for message in dialogue.messages] for dialogue in read_dialogues(tmp_path / "train")]
    assert texts == [[pair["prompt"], pair["response"]] for pair in pairs]


def test_a_broken_file_or_one_that_changes_leaves_no_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "Hi!", "response": "Hello."}\n{"prompt": "Hi!"}\n')
    with pytest.raises(ValueError, match=r"mine\.jsonl:2: must be a dialogue: .*, got the names prompt; "):
        run(source="files", train=["mine.jsonl"])
    (tmp_path / "mine.jsonl").write_text('{"prompt": "Hi!", "response": "Hello."}\n{"prompt": "1", "response": "2"}\n')
    monkeypatch.setattr("stages.inputs.list_dialogue_inputs", lambda *args: [{"sha256": "of another file"}])
    with pytest.raises(ValueError, match=r"^dialogues: the files must not change after stage `inputs` has listed"):
        run(source="files", train=["mine.jsonl"], valid_fraction=0.5)
    assert not any((tmp_path / name).exists() for name in ("train", "valid", "card"))


def test_the_card_counts_the_answers_that_are_known(run: Run) -> None:
    card = run(n_dialogues=20, n_valid_dialogues=2, valid_fraction=0.2)
    assert (card["source"], card["train"]["n_dialogues"], card["valid"]["n_dialogues"]) == ("stories", 20, 2)
    assert card["train"]["questions"]["story"] >= 5
    assert card["validation"] == "a random stream of its own"
