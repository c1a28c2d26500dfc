"""Tests of experiments/compare/curves.py on a real experiment are in test_running.py; here is what needs no run."""

import pandas as pd
import pytest

from experiments.compare.curves import Curves, _interpolated, broke_down
from tests.experiments.made import made_curve, made_result, made_run

RUN = made_run("base")


def told(losses: list[float], **metrics: object) -> bool:
    curve = made_curve(losses)
    return broke_down(made_result(RUN, 1.0, **metrics), Curves(curve, curve, None, None, None))


def test_a_loss_that_falls_with_noise_has_not_broken_down() -> None:
    assert not told([7.6, 5.0, 4.0, 4.3, 3.9, 4.2])
    assert not told([9.0, *([5.0] * 30)])  # a peak within the first tenth


@pytest.mark.parametrize(
    "losses",
    [
        [7.6, 5.0, 4.0, 4.9],  # ends more than a fifth above its lowest
        [7.6, 8.0, 9.0, 8.0, 7.5, 7.4],  # ln(2048) is 7.62: later than at the start it still knew less than nothing
    ],
)
def test_a_loss_that_rises_or_never_falls_has(losses: list[float]) -> None:
    assert told(losses)


def test_the_word_of_the_train_stage_counts_whatever_the_curve() -> None:
    assert told([7.6, 5.0, 4.0], diverged=True)
    assert broke_down(made_result(RUN, 1.0, diverged=True), Curves(None, None, None, None, None))
    assert not broke_down(made_result(RUN, 1.0), Curves(None, None, None, None, None))


def test_seconds_between_two_laps_are_interpolated() -> None:
    seconds = _interpolated({10: 1.0, 20: 3.0}, pd.Series([10, 15, 20]))
    assert [seconds[step] for step in (10, 15, 20)] == [1.0, 2.0, 3.0]
