"""Tests of experiments/define/definitions.py and reading.py, and of the experiments that the project brings."""

from pathlib import Path
from typing import Any

import pytest

from commands.deps import ROOT
from experiments.define.definitions import (
    ExperimentSet,
    flatten,
    model_size,
    parse_override,
    select,
    with_overrides,
)
from experiments.define.reading import load_experiments, load_params

PARAMS = load_params(ROOT / "params.yaml")
SETS = load_experiments(ROOT / "experiments.yaml")

SMALL = """
presets:
  base: {asks: Small?, hardware: any CPU, model: {d_model: 64}, train: {steps: 10}}
sets:
  norms:
    asks: Which norm?
    base: base
    seeds: [1, 2]
    train: {batch_size: 4}
    experiments:
      rms: {asks: The usual?}
      none: {asks: Without?, model: {norm: none}, train: {steps: 20}}
  rates:
    asks: How fast?
    sweep: {train: {learning_rate: [1e-4, 0.003], batch_size: [2, 4]}}
    baseline: 0.003-2
    against: train.learning_rate
    by: train.batch_size
"""


def load(tmp_path: Path, text: str = SMALL) -> dict[str, ExperimentSet]:
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    return load_experiments(path)


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


def test_a_preset_is_a_set_of_one_run(tmp_path: Path) -> None:
    base = load(tmp_path)["base"]
    assert [run.name for run in base.runs] == ["base"]
    assert (base.hardware, base.baseline) == ("any CPU", None)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("norms", ["norms-rms-s1", "norms-rms-s2", "norms-none-s1", "norms-none-s2"]),
        ("norms-none", ["norms-none-s1", "norms-none-s2"]),
        ("norms-none-s2", ["norms-none-s2"]),
        ("rates-0.003-4", ["rates-0.003-4"]),
    ],
)
def test_a_set_an_experiment_or_a_run_can_be_selected(tmp_path: Path, name: str, runs: list[str]) -> None:
    assert [run.name for run in select(load(tmp_path), name).runs] == runs


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^norm: no such experiment, did you mean norms\?; `python -m experiments"):
        select(load(tmp_path), "norm")


def test_overrides_and_seeds_of_the_command_line_hold_for_all_runs(tmp_path: Path) -> None:
    norms = with_overrides(load(tmp_path)["norms"], parse_override("train.steps=5"), [7])
    assert [(run.name, run.overrides["train.steps"], run.overrides["seed"]) for run in norms.runs] == [
        ("norms-rms-s7", 5, 7),
        ("norms-none-s7", 5, 7),
    ]
    rates = with_overrides(load(tmp_path)["rates"], {}, [3, 4])
    assert [run.name for run in rates.runs][:3] == ["rates-0.0001-2-s3", "rates-0.0001-2-s4", "rates-0.0001-4-s3"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("model.d_ff=null", None),
        ("data.train=[a/b.txt, '**/*.txt']", ["a/b.txt", "**/*.txt"]),
        ("train.compile=true", True),
        ("data.source=files", "files"),
        ("data.separator=", None),
    ],
)
def test_an_override_is_read_as_yaml(text: str, value: Any) -> None:
    assert list(parse_override(text).values()) == [value]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.norm", "model.norm: must have the form section.parameter=value"),
        ("model.norms=none", "model.norms: no such parameter, did you mean model.norm?"),
        ("data.train=[a", "data.train: must be a value of YAML, got '[a'"),
    ],
)
def test_a_wrong_override_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_override(text)
    assert str(caught.value) == message


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
            "sets.norms.experiments.none.models: must be one of asks, data",
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
        ("sweep:", "sweeps:", "sets.rates.sweeps: must be one of against, asks, base"),
        ("  rates:", "  base:", "a preset and a set must not share a name, got 'base'"),
        ("presets:", "presets: [", "not valid YAML"),
        ("  norms:", "  2024:", "sets: names must be text of letters, digits, '-', '_', '+' and '.', got 2024"),
        ("      none:", "      not one:", "sets.norms.experiments: names must be text of letters"),
        ("base: base", "base: [5]", "sets.norms.base: must be a preset, got [5]"),
        ("[1e-4, 0.003]", "[0.003, 0.00300000001]", "rates.sweep: values must differ in name, got '0.003-2' twice"),
        ("[1e-4, 0.003]", "[null, 0.003]", "sets.rates.against: must be a parameter that is a number, got None"),
        ("{learning_rate: [1e-4, 0.003], batch_size: [2, 4]}", "{}", "sets.rates.sweep: must name the parameters to"),
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
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(tmp_path, SMALL.replace(before, after))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/experiments.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_value_that_the_pipeline_refuses_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (run,) = with_overrides(load(tmp_path)["base"], {"model.d_model": 66}, None).runs
    with pytest.raises(ValueError, match=r"^base: model\.d_model: must be a multiple of n_heads=4, got 66$"):
        run.parameters(PARAMS)


def test_the_seed_of_a_set_with_seeds_is_not_overridden_but_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^seed: must be given as --seeds 5 for norms, which runs once a seed$"):
        with_overrides(load(tmp_path)["norms"], {"seed": 5}, None)
    (run,) = with_overrides(load(tmp_path)["base"], {"seed": "5"}, None).runs
    with pytest.raises(ValueError, match=r"^base: seed: must be an integer from 0 to 2\*\*32 - 1, got '5'$"):
        run.parameters(PARAMS)


def test_a_file_without_experiments_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must have presets or sets, got neither$"):
        load(tmp_path, "presets: {}")
    with pytest.raises(ValueError, match=r"sets: must be a mapping, got 5$"):
        load(tmp_path, "sets: 5")


def test_a_run_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    run = load(tmp_path)["norms"].runs[2]
    values = run.parameters(PARAMS)
    different = {key: value for key, value in flatten(values).items() if flatten(PARAMS)[key] != value}
    assert different == run.changes(PARAMS)
    assert different == {"model.d_model": 64, "model.norm": "none", "train.steps": 20, "train.batch_size": 4, "seed": 1}


@pytest.mark.parametrize("one", SETS.values(), ids=lambda one: one.name)
def test_every_experiment_of_the_project_has_parameters_that_the_pipeline_takes(one: ExperimentSet) -> None:
    seen = [run.parameters(PARAMS) for run in one.runs]
    assert all(seen.count(values) == 1 for values in seen)


@pytest.mark.parametrize(
    ("preset", "n_parameters"),
    [
        ("gpt2-124m", 124_439_808),
        ("tinystories-30m-window", 29_630_976),
        ("tinystories-17m", 22_696_448),
        ("tinystories-1m", 1_016_960),
    ],
)
def test_presets_have_the_size_of_what_they_are_named_after(preset: str, n_parameters: int) -> None:
    assert model_size(SETS[preset].runs[0].parameters(PARAMS)) == n_parameters


def test_the_feed_forwards_that_are_compared_have_as_many_parameters() -> None:
    sizes = {
        run.experiment: model_size(run.parameters(PARAMS))
        for run in SETS["ablations"].runs
        if run.experiment in ("baseline", "silu", "gelu")
    }
    assert len(set(sizes.values())) == 1


def test_the_tokens_of_the_course_are_whole_steps() -> None:
    for preset, n_steps in (("tinystories-17m", 10_000), ("tinystories-17m-cpu", 5_000), ("tinystories-1m", 500)):
        values = SETS[preset].runs[0].parameters(PARAMS)
        tokens_per_step = values["train"]["batch_size"] * values["model"]["context_length"]
        assert values["train"]["tokens"] == n_steps * tokens_per_step
