"""Tests of the experiments.yaml of the project."""

import pytest

from experiments.define.experiment_set import ExperimentSet
from experiments.define.experiments_file import load_experiments
from experiments.define.parameters import model_size
from tests.experiments.results_by_hand import PARAMS
from tests.project import ROOT

SETS = load_experiments(ROOT / "experiments.yaml")


def test_no_experiment_of_the_project_has_a_mistake() -> None:
    assert SETS.mistakes == {}


@pytest.mark.parametrize("experiment_set", SETS.values(), ids=lambda experiment_set: experiment_set.name)
def test_every_experiment_of_the_project_has_parameters_that_the_pipeline_takes(experiment_set: ExperimentSet) -> None:
    values_of_runs = [run.parameters(PARAMS) for run in experiment_set.runs]
    assert all(values_of_runs.count(values) == 1 for values in values_of_runs)


@pytest.mark.parametrize(
    ("preset", "n_parameters"),
    [
        ("gpt2-124m", 124_439_808),
        ("tinystories-30m-window", 29_630_976),
        ("tinystories-17m", 22_696_448),
        ("tinystories-1m", 1_016_960),
    ],
)
def test_presets_have_the_size_that_their_names_say(preset: str, n_parameters: int) -> None:
    assert model_size(SETS[preset].runs[0].parameters(PARAMS)) == n_parameters


def test_the_feed_forwards_that_are_compared_have_equally_many_parameters() -> None:
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
