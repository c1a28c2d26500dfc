"""Tests of experiments/define/experiments_file.py."""

import re
from pathlib import Path

import pytest

from experiments.define.experiment_set import select
from tests.experiments.define.small_file import SMALL, load


def test_a_set_runs_each_experiment_once_a_seed_over_its_base(tmp_path: Path) -> None:
    norms = load(tmp_path)["norms"]
    assert [run.name for run in norms.runs] == ["norms-rms-s1", "norms-rms-s2", "norms-none-s1", "norms-none-s2"]
    assert norms.baseline == "rms"
    shared = {"model.d_model": 64, "train.batch_size": 4}
    assert norms.runs[0].overrides == shared | {"train.steps": 10, "seed": 1}
    assert norms.runs[3].overrides == shared | {"train.steps": 20, "model.norm": "none", "seed": 2}
    assert norms.runs[3].asks == "Without?"


def test_a_sweep_runs_every_combination_and_names_it_by_its_values(tmp_path: Path) -> None:
    rates = load(tmp_path)["rates"]
    assert rates.experiments == ["0.0001-2", "0.0001-4", "0.003-2", "0.003-4"]
    assert rates.runs[0].overrides == {"train.learning_rate": 1e-4, "train.batch_size": 2}  # a number, not a text
    assert (rates.baseline, rates.against, rates.by) == ("0.003-2", "train.learning_rate", "train.batch_size")
    assert (rates.metric, load(tmp_path)["norms"].metric) == ("chat.loss", "bits_per_byte")


def test_a_preset_is_a_set_of_one_run(tmp_path: Path) -> None:
    base = load(tmp_path)["base"]
    assert [run.name for run in base.runs] == ["base"]
    assert (base.hardware, base.baseline) == ("any CPU", None)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "model: {norm: none}",
            "model: {nrom: none}",
            "sets.norms.experiments.none: model.nrom: no such parameter, did you",
        ),
        (
            "model: {norm: none}",
            "models: {norm: none}",
            "sets.norms.experiments.none.models: must be one of ",
        ),
        (
            "model: {norm: none}",
            "model: none",
            "sets.norms.experiments.none.model: must be a mapping of parameters, got",
        ),
        ("base: base", "base: bas", "sets.norms.base: must be a preset, did you mean base?, got 'bas'"),
        ("seeds: [1, 2]", "seeds: 2", "sets.norms.seeds: must be a list of integers, got 2"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "runs must differ in name, got 'norms-rms-s1' twice"),
        ("asks: Which norm?", "asks: ''", "sets.norms.asks: must be a sentence, got ''"),
        ("baseline: 0.003-2", "baseline: 3", "sets.rates.baseline: must be one of 0.0001-2, 0.0001-4, 0.003-2"),
        ("[2, 4]}", "4}", "sets.rates.sweep.train.batch_size: must be a list of values, got 4"),
        ("sweep:", "sweeps:", "sets.rates.sweeps: must be one of against, "),
        ("  rates:", "  base:", "a preset and a set must not share a name, got 'base'"),
        ("presets:", "presets: [", "not valid YAML"),
        ("  norms:", "  2024:", "sets: names must begin with a letter or digit, hold only letters, digits, '-', "),
        ("  norms:", "  -norms:", "sets: names must begin with a letter or digit, "),
        ("      none:", "      not one:", "sets.norms.experiments: names must begin with"),
        ("base: base", "base: [5]", "sets.norms.base: must be a preset, got [5]"),
        ("[1e-4, 0.003]", "[0.003, 0.00300000001]", "rates.sweep: values must differ in name, got '0.003-2' twice"),
        ("[1e-4, 0.003]", "[null, 0.003]", "sets.rates.against: must be a parameter that is a number, got None"),
        ("{learning_rate: [1e-4, 0.003], batch_size: [2, 4]}", "{}", "sets.rates.sweep: must name the parameters to"),
        ("metric: chat.loss", "metric: chat.los", "sets.rates.metric: no such metric, did you mean chat.loss?"),
        ("against: train.learning_rate", "against: n_heads", "sets.rates.against: no such parameter or metric"),
        (
            "    against: train.learning_rate",
            "    experiments: {}",
            "sets.rates: must have either experiments or sweep",
        ),
        (
            "by: train.batch_size",
            "by: train.batch",
            "sets.rates.by: no such parameter or metric, did you mean train.batch",
        ),
    ],
)
def test_a_mistake_in_the_file_gets_its_place(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in SMALL
    try:
        mistake = next(iter(load(tmp_path, SMALL.replace(before, after)).mistakes.values()))
    except ValueError as error:  # a mistake that is not in one entry alone
        mistake = str(error)
    assert message in mistake
    assert re.match(rf"{tmp_path}/experiments\.yaml(:\d+)?: ", mistake)
    assert "\n" not in mistake


def test_a_mistake_in_one_entry_hides_no_other(tmp_path: Path) -> None:
    experiments = load(tmp_path, SMALL.replace("steps: 10}", "setps: 10}"))
    assert list(experiments) == ["rates"]
    assert list(experiments.mistakes) == ["base", "norms"]
    assert experiments.mistakes["norms"].endswith(
        f"sets.norms.base: base has a mistake: {experiments.mistakes['base']}"
    )
    with pytest.raises(
        ValueError, match=r"presets\.base: train\.setps: no such parameter, did you mean train\.steps\?$"
    ):
        select(experiments, "base")


def test_a_file_without_experiments_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must have presets or sets, got neither$"):
        load(tmp_path, "presets: {}")
    with pytest.raises(ValueError, match=r"sets: must be a mapping, got 5$"):
        load(tmp_path, "sets: 5")
