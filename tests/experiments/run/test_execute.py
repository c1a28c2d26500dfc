"""Which runs of a set are still to do."""

from dataclasses import replace

import pytest

from experiments.run.execute import _not_done
from tests.experiments.results_by_hand import PARAMS, made_comparison, made_finished, made_result, made_run, made_set


def test_observers_do_not_make_a_finished_run_another_one() -> None:
    run = made_run("norms", model_norm="none")
    result = made_result(run, 0.5)
    edited = PARAMS | {"observe": {"log_every": 1, "tensorboard": True}}
    assert _not_done([run], edited, {run.name: result}) == []
    with pytest.raises(ValueError, match=r"made-norms: an experiment of this name has train\.steps=1200, now 7"):
        _not_done([run], PARAMS | {"train": PARAMS["train"] | {"steps": 7}}, {run.name: result})


def test_observers_are_no_deviation_from_a_definition() -> None:
    run = made_run("norms", observe_log_every=3)
    finished = made_finished(made_run("norms"), 0.5, None)
    assert made_comparison(made_set(run), [finished]).deviations == {}


def test_a_result_of_a_version_without_a_parameter_does_not_deviate_by_it() -> None:
    run = made_run("norms")
    finished = made_finished(run, 0.5, None)
    older = {key: value for key, value in finished.result.parameters.items() if key != "model.norm"}
    finished = replace(finished, result=replace(finished.result, parameters=older))
    assert made_comparison(made_set(run), [finished]).deviations == {}
