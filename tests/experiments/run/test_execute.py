"""Which runs of a set are still to do."""

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
