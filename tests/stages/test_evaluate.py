"""Tests of stages/evaluate.py."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.config.base import Section
from lm.config.evaluate import EvaluateConfig
from lm.system.files import sha256
from stages import evaluate
from tests.workspace import Workspace

FILES = {
    "model": "models/base/model.safetensors",
    "text": "data/raw/valid.txt",
    "tokens": "data/tokens/valid.bin",
    "card": "data/tokens/valid.json",
    "floor": "data/raw/floor.json",
    "tokenizer": "models/base/tokenizer.json",
}


def evaluated(micro: Workspace, folder: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """The metrics of the stage, run in this process, with some parameters of its sections changed; outs in a folder."""
    wanted = {"train": {}, **changes, "evaluate": {"device": "cpu"} | changes.get("evaluate", {})}

    def section(section: type[Section], *_names: str) -> Section:
        return section.load(micro.path / "params.yaml").model_copy(update=wanted[section.name()])

    def path(name: str) -> Path:
        return micro.path / FILES[name] if name in FILES else folder / name

    stage: Any = SimpleNamespace(path=path, section=section)
    evaluate.main(stage)
    figures: dict[str, Any] = json.loads((folder / "metrics").read_bytes())
    return figures


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({"keep": "best", "patience": None}, True),
        ({"keep": "last", "patience": 3}, True),
        ({"keep": "last", "patience": None}, False),
    ],
)
def test_metrics_say_whether_the_weights_were_chosen_on_the_text(
    micro: Workspace, tmp_path: Path, changes: dict[str, Any], chosen: bool
) -> None:
    figures = evaluated(micro, tmp_path, train=changes)
    assert figures.pop("chosen_on_this_text") is chosen
    expected = json.loads(micro.read("metrics/evaluate.json"))
    del expected["chosen_on_this_text"]
    assert figures == pytest.approx(expected, rel=1e-5)  # another process rounds float32 otherwise


def test_minimal_pairs_are_evaluated_where_they_are_asked_for(micro: Workspace, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"sentence_good": "Once upon a time", "sentence_bad": "xq zv kj wp", "group": "words"}\n')
    (tmp_path / "pairs_inputs").write_text(json.dumps([{"name": pairs.name, "sha256": sha256(pairs)}]))

    figures = evaluated(micro, tmp_path, evaluate={"minimal_pairs": str(pairs)})
    assert figures["minimal_pairs_accuracy"] == 1
    assert figures["n_minimal_pairs"] == 1
    assert (tmp_path / "minimal_pairs").read_text() == "group,accuracy,standard_error,n_pairs\nwords,1.0,,1\n"
    assert micro.read("plots/minimal_pairs.csv") == b"group,accuracy,standard_error,n_pairs\n"


def test_the_batch_follows_the_device_unless_it_is_given() -> None:
    null = EvaluateConfig.parse({"batch_size": None, "device": "auto"})
    assert [null.batch_size_on(device) for device in ("cpu", "cuda", "mps")] == [2, 32, 32]
    given = EvaluateConfig.parse({"batch_size": 7, "device": "auto"})
    assert [given.batch_size_on(device) for device in ("cpu", "cuda", "mps")] == [7, 7, 7]
