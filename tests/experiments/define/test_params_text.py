"""Tests of experiments/define/params_text.py."""

from io import StringIO

from ruamel.yaml import YAML

from experiments.define.parameters import flatten, load_params
from experiments.define.params_text import with_values
from tests.project import ROOT


def test_only_the_lines_of_changed_values_change() -> None:
    text = (ROOT / "params.yaml").read_text()
    values = flatten(load_params(ROOT / "params.yaml"))
    assert with_values(text, values) == text
    changed = values | {"model.d_model": 256, "model.window": 64, "train.betas": [0.8, 0.9], "sample.top_k": None}
    written = with_values(text, changed)
    assert flatten(YAML(typ="safe", pure=True).load(StringIO(written))) == changed
    pairs = [(a, b) for a, b in zip(text.splitlines(), written.splitlines(), strict=True) if a != b]
    assert [new.partition("#")[0].strip() for _, new in pairs] == ["d_model: 256", "window: 64", "betas: [0.8, 0.9]"]
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in pairs)
    assert written.count("null ") == text.count("null ") - 1


def test_a_section_that_is_not_there_is_added() -> None:
    assert (
        with_values("model:\n  d: 1  # one\n", {"finetune.steps": 3})
        == "model:\n  d: 1  # one\nfinetune:\n  steps: 3\n"
    )
