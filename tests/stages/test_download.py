"""Tests of stages/download.py and of the stages after it on odd corpora."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from ruamel.yaml import YAML

from lm.config.special_tokens import END_OF_TEXT
from lm.corpus.document import SEPARATOR
from lm.system.files import sha256
from stages import download, encode, inputs, tokenizer
from stages.support import Stage
from tests.project import ROOT


class Runs:
    """Runs stages in this process on the files of a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch
        monkeypatch.setenv("DVC_ROOT", str(folder))

    def corpus(
        self, tokenizer: dict[str, Any] | None = None, others: list[str] | None = None, **data: Any
    ) -> dict[str, Any]:
        """The card of the corpus that the first two stages make with these parameters of `tokenizer` and `data`.

        `others` are tokenizers to compare with.
        """
        yaml = YAML()
        params = yaml.load(ROOT / "params.yaml")
        params["data"].update({"source": "files", "train": ["train.txt"]} | data)
        params["tokenizer"].update(tokenizer or {})
        params["analyze"]["other_tokenizers"] = others or []
        yaml.dump(params, self.folder / "params.yaml")
        self._run(
            inputs.main, [], ["data_inputs", "dialogue_inputs", "tokenizer_inputs", "other_tokenizers", "pairs_inputs"]
        )
        self._run(download.main, ["data_inputs"], ["train", "valid", "card", "floor"])
        card: dict[str, Any] = json.loads((self.folder / "card").read_text())
        return card

    def tokens(self) -> None:
        """Run the next two stages."""
        self._run(tokenizer.main, ["tokenizer_inputs", "train", "valid"], ["tokenizer", "metrics"])
        texts = {"train_text": "train", "valid_text": "valid"}
        outs = ["train_tokens", "train_card", "valid_tokens", "valid_card"]
        self._run(encode.main, ["tokenizer", *texts], outs, texts)

    def _run(
        self, main: Callable[[Stage], None], inputs: list[str], outs: list[str], files: dict[str, str] | None = None
    ) -> None:
        """Run a stage on files that are called like its flags, or as `files` says."""
        paths = {name: self.folder / (files or {}).get(name, name) for name in [*inputs, *outs]}
        flags = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        self._patch.setattr("sys.argv", ["stage", f"--params={self.folder / 'params.yaml'}", *flags])
        main(Stage("", dict.fromkeys(inputs, ""), dict.fromkeys(outs, "")))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


def write(path: Path, texts: list[str]) -> None:
    path.write_text("".join(f"{text}\n{SEPARATOR}\n" for text in texts))


def test_validation_text_in_the_training_text_is_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs.folder / "train.txt", ["one fox", "two hens", "three owls"])
    write(runs.folder / "valid.txt", ["One  fox", "two hens", "no cat"])
    card = runs.corpus(valid=["valid.txt"])
    assert card["n_valid_documents_in_train"] == 2
    assert capsys.readouterr().err == "warning: 2 of 3 validation documents are in the training text too\n"
    write(runs.folder / "valid.txt", ["no cat"])
    assert runs.corpus(valid=["valid.txt"])["n_valid_documents_in_train"] == 0
    assert capsys.readouterr().err == ""


def test_the_end_of_a_single_book_is_held_out_and_it_is_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"Line {i:03} of a book." for i in range(200)]
    (runs.folder / "train.txt").write_text("\n".join(lines))
    card = runs.corpus(valid_fraction=0.1)
    assert card["validation"] == "the last part of the text"
    assert (runs.folder / "valid").read_text() == "\n".join([*lines[180:], SEPARATOR, ""])
    assert "so the last part of the text is held out" in capsys.readouterr().err


def test_what_dvc_yaml_lists_as_an_out_is_no_input(runs: Runs) -> None:
    (runs.folder / "data" / "raw").mkdir(parents=True)
    for name in ("data/mine.txt", "data/raw/train.txt", "data/raw/valid.txt", "samples.txt"):
        write(runs.folder / name, [f"{name} {i}" for i in range(100)])
    card = runs.corpus(train=["**/*.txt"])
    assert card["files"] == {"train": ["mine.txt", "samples.txt"]}
    with pytest.raises(
        ValueError, match=r"^data\.valid: must match .* the pipeline writes .*, got 'data/raw/valid\.txt'$"
    ):
        runs.corpus(train=["data/mine.txt"], valid=["data/raw/valid.txt"])
    (runs.folder / "data" / "tokenizer.json").touch()
    with pytest.raises(ValueError, match=r"^tokenizer\.pretrained: must be no file that the pipeline writes, got "):
        runs.corpus({"kind": "pretrained", "pretrained": "data"}, train=["data/mine.txt"])
    with pytest.raises(ValueError, match=r"^analyze\.other_tokenizers: must be no file that the pipeline writes, got "):
        runs.corpus(others=["data/tokenizer.json"], train=["data/mine.txt"])


def test_tokenizers_to_compare_with_are_listed_and_a_mistake_is_told_at_once(runs: Runs) -> None:
    write(runs.folder / "train.txt", [f"Story {i}" for i in range(100)])
    save_tokenizer(runs.folder / "other.json", [])
    runs.corpus(others=["other.json", "gpt2"])
    listed = [{"name": "other.json", "sha256": sha256(runs.folder / "other.json")}]  # an encoding never changes
    assert json.loads((runs.folder / "other_tokenizers").read_text()) == listed
    with pytest.raises(ValueError, match=r"^analyze\.other_tokenizers: must be the path of .*, got 'nowhere\.json'$"):
        runs.corpus(others=["other.json", "nowhere.json"])
    with pytest.raises(ValueError, match=r"^analyze\.other_tokenizers: must differ from each other, got \['a', 'a'\]$"):
        runs.corpus(others=["a", "a"])


def test_a_file_that_changes_after_it_was_listed_fails_the_stage(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    write(runs.folder / "train.txt", [f"Story {i}" for i in range(100)])
    monkeypatch.setattr("stages.inputs.list_inputs", lambda *args: [{"sha256": "of another text"}])
    with pytest.raises(ValueError, match=r"^data: the files must not change after stage `inputs` has listed them"):
        runs.corpus()
    assert not (runs.folder / "train").exists()


def save_tokenizer(path: Path, merges: list[tuple[str, str]]) -> None:
    library = tokenizers.Tokenizer(tokenizers.models.BPE({END_OF_TEXT: 0, "a": 1, "b": 2, "ab": 3}, merges))
    library.add_special_tokens([END_OF_TEXT])
    library.save(str(path))


def test_a_tokenizer_that_changes_after_it_was_listed_fails_the_stage(runs: Runs) -> None:
    save_tokenizer(runs.folder / "own.json", [("a", "b")])
    write(runs.folder / "train.txt", ["abab"])
    write(runs.folder / "valid.txt", ["baba"])
    runs.corpus({"kind": "pretrained", "pretrained": "own.json"}, valid=["valid.txt"])
    save_tokenizer(runs.folder / "own.json", [])
    with pytest.raises(ValueError, match=r"^tokenizer\.pretrained: the files must not change after stage `inputs`"):
        runs.tokens()
    assert not (runs.folder / "tokenizer").exists()


def test_text_without_a_known_character_gives_one_line(runs: Runs) -> None:
    save_tokenizer(runs.folder / "own.json", [("a", "b")])
    write(runs.folder / "train.txt", ["abab"])
    write(runs.folder / "valid.txt", ["狐狸"])
    runs.corpus({"kind": "pretrained", "pretrained": "own.json"}, valid=["valid.txt"])
    with pytest.raises(ValueError, match=r"^data\.valid: the validation text must have .*, got 0 tokens from 6 bytes$"):
        runs.tokens()
    assert not (runs.folder / "tokenizer").exists()


def test_a_validation_text_shorter_than_a_context_is_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs.folder / "train.txt", ["fox and hen " * 500])
    write(runs.folder / "valid.txt", ["hen and fox"])
    runs.corpus({"kind": "byte"}, valid=["valid.txt"])
    runs.tokens()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(lines) == 1
    assert "training needs context_length + 1 = 385 tokens, got 12 for valid; take more text" in lines[0]


def test_parameters_that_do_nothing_are_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs.folder / "train.txt", [f"Story {i}" for i in range(100)])
    write(runs.folder / "valid.txt", ["no cat"])
    runs.corpus({"kind": "byte", "min_frequency": 3}, valid=["valid.txt"], n_stories=5)
    assert capsys.readouterr().err.splitlines() == [
        "note: data.n_stories: no effect with data.source=files",
        "note: tokenizer.min_frequency: no effect with tokenizer.kind=byte",
    ]
