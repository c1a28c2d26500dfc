"""The stage that fine-tunes, run in this process on a small base model without the tokens of roles."""

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lm.analysis.pictures import plot_loss
from lm.config.base import Section
from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Dialogue, Message, write_dialogues
from lm.formats.columns import read_columns
from lm.formats.model_file import load_weights
from lm.tokenizer.load import load_tokenizer
from lm.training.run import RunFolders
from lm.training.torch_backend import TorchBackend
from stages import finetune
from tests.small import TRAIN, write_model

FINETUNE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 2,
    "accumulate": 1,
    "learning_rate": 0.5,
    "schedule": "linear",
    "warmup_steps": None,
    "learn": "answers",
    "answer_weight": 0.5,
    "pack": True,
    "attend": "dialogue",
    "valid_every": 4,
    "valid_sequences": 2,
    "patience": None,
    "keep": "best",
}
OUTS = ("model", "tokenizer", "metrics", "step_curve", "valid_curve")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with a base model and dialogues, of which one must be cut and one does not fit."""
    write_model(tmp_path / "base", context_length=40)
    (tmp_path / "base" / "model.safetensors").rename(tmp_path / "base.model")
    (tmp_path / "base" / "tokenizer.json").rename(tmp_path / "base_tokenizer")
    (tmp_path / "base.model").rename(tmp_path / "base" / "model")
    for split, n in (("train", 10), ("valid", 4)):
        talks = [talk(("Who?", f"Fox {number}."), ("Why?", "So.")) for number in range(n)]
        talks += [talk(("Who?", "A hen."), ("Why is that so?", "I do not know at all.")), talk(("?", 40 * "x"))]
        write_dialogues(tmp_path / split, talks)
    return tmp_path


def talk(*turns: tuple[str, str]) -> Dialogue:
    messages = [(Message("user", asked), Message("assistant", said)) for asked, said in turns]
    return Dialogue(tuple(message for pair in messages for message in pair))


def tune(inputs: Path, out: Path, states: str, train: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Run the stage, and return its metrics. Its states lie in the folder of that name beside the inputs."""
    out.mkdir(exist_ok=True)
    values = {"finetune": FINETUNE | changes, "train": TRAIN | (train or {})}

    def section(section: type[Section]) -> Section:
        return section.parse(values[section.name()])

    def path(name: str) -> Path:
        return out / name if name in OUTS else inputs / "base" / "model" if name == "base" else inputs / name

    stage: Any = SimpleNamespace(
        path=path,
        section=section,
        seed=lambda: 1,
        facts=lambda: {"parameters": values, "inputs": [], "code": "x"},
        watched_by_others=nullcontext,
        check_unchanged=lambda: None,
    )
    with pytest.MonkeyPatch.context() as patch:
        folders = RunFolders(inputs / states, inputs / "timings", None)
        patch.setattr(finetune, "run_folders", lambda _stage: folders)
        finetune.main(stage)
    metrics: dict[str, Any] = json.loads((out / "metrics").read_text())
    return metrics


def test_a_run_that_was_stopped_goes_on_and_ends_bit_for_bit_as_one_that_was_not(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = tune(inputs, inputs / "whole", "a")
    assert "the base model gets 4 new tokens, those of the roles" in capsys.readouterr().err
    assert metrics["new_tokens"] == 4
    assert metrics["train"] == {"dialogues": 11, "cut_dialogues": 1, "left_out_dialogues": 1}
    assert metrics["steps"] == FINETUNE["epochs"] * metrics["rows"] // 2 > 6

    update, taken = TorchBackend.update, []

    def interrupted(backend: TorchBackend, rate: float) -> None:
        update(backend, rate)
        taken.append(rate)
        if len(taken) == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TorchBackend, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(inputs, inputs / "again", "b")
    assert tune(inputs, inputs / "again", "b") == metrics
    assert len(taken) == metrics["steps"]
    for name in OUTS:
        assert (inputs / "again" / name).read_bytes() == (inputs / "whole" / name).read_bytes(), name

    # What it has written can be used: a chat model with a row for each token, and curves.
    weights, card = load_weights(inputs / "whole" / "model")
    tokenizer = load_tokenizer(inputs / "whole" / "tokenizer")
    assert card.chat
    assert tokenizer.special_tokens.keys() >= set(CHAT_TOKENS)
    assert len(weights["embedding.weight"]) == tokenizer.vocab_size == card.vocab_size
    steps, valid = (read_columns(inputs / "whole" / name) for name in ("step_curve", "valid_curve"))
    assert max(steps["learning_rate"]) <= TRAIN["learning_rate"] * FINETUNE["learning_rate"]
    assert valid["loss"][-1] < valid["loss"][0]
    plot_loss(steps, valid, None, inputs / "loss.png", title="Loss of fine-tuning")
    assert (inputs / "loss.png").stat().st_size > 0


def test_numpy_learns_the_same_and_each_switch_changes_what_is_learnt(inputs: Path) -> None:
    def losses(name: str, train: dict[str, Any] | None = None, **changes: Any) -> Any:
        # Adam would enlarge differences of rounding.
        sgd = {"optimizer": "sgd", "learning_rate": 0.001} | (train or {})
        tune(inputs, inputs / name, name, sgd, epochs=1, valid_every=99, **changes)
        return read_columns(inputs / name / "step_curve")["loss"]

    torch = losses("torch")
    np.testing.assert_allclose(losses("numpy", {"backend": "numpy"}), torch, rtol=1e-4)
    np.testing.assert_allclose(losses("parts", accumulate=2), torch, rtol=1e-4)
    for change in ({"learn": "all"}, {"answer_weight": 1.0}, {"pack": False}, {"attend": "row"}):
        assert not np.allclose(losses(next(iter(change)), **change)[: len(torch)], torch, rtol=1e-3), change


def test_no_dialogue_that_fits_is_one_line(inputs: Path) -> None:
    write_dialogues(inputs / "train", [talk(("?", 40 * "x"))])
    with pytest.raises(ValueError, match=r"^dialogues: must hold one that fits into the context with its first answer"):
        tune(inputs, inputs / "out", "a")
