"""Tests of experiments/define/cost.py."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from experiments.define.cost import cost_in_words
from experiments.define.parameters import overridden
from lm.config.train import TrainConfig
from lm.system.files import write_json
from lm.training.estimate import facts_of_speed
from lm.training.timing import machine
from tests.project import ROOT

PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


def params(**overrides: Any) -> dict[str, Any]:
    return overridden(PARAMS, {key.replace("__", "."): value for key, value in overrides.items()})


def test_time_is_that_of_all_runs_and_memory_that_of_the_largest(tmp_path: Path) -> None:
    small, large = params(train__steps=300), params(train__steps=300, model__d_model=1024)
    only_memory = cost_in_words([small, large], tmp_path)
    assert only_memory == cost_in_words([large], tmp_path)
    assert cost_in_words([small], tmp_path) == "at least 17 MiB of memory"  # a million numbers, between 4 and 5 times
    assert cost_in_words([params(model__d_model=2048)], tmp_path) == "at least 3.1 GiB of memory"

    timing = {"machine": machine(), "steps": [300], "elapsed_s": [100.0]}
    write_json(tmp_path / "one.json", timing | facts_of_speed(1e13, TrainConfig.parse(PARAMS["train"])))
    thrice = cost_in_words([small] * 3, tmp_path)
    assert thrice == cost_in_words([params(train__steps=900)], tmp_path)
    assert thrice.startswith("about ")
    assert thrice.endswith(" s, at least 17 MiB of memory")


@pytest.mark.parametrize("changes", [{"tokenizer__kind": "char"}, {"tokenizer__kind": "byte"}])
def test_nothing_is_said_of_a_model_of_unknown_size(changes: dict[str, Any], tmp_path: Path) -> None:
    assert cost_in_words([params(**changes)], tmp_path) == ""
    assert cost_in_words([params(), params(**changes)], tmp_path) == ""
