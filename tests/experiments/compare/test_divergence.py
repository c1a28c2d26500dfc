"""Tests of experiments/compare/divergence.py on simulated curves."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.compare.curves import Curves
from experiments.compare.divergence import broke_down
from tests.experiments.results_by_hand import made_curve, made_result, made_run

RUN = made_run("base")
Column = np.ndarray[Any, np.dtype[np.float64]]


def healthy(x: Column) -> Column:
    """The expected loss after the fraction x of a run that goes well."""
    return 2.5 + 5 * np.exp(-8 * x)


def flat(x: Column) -> Column:
    """The same with a constant learning rate that is reached soon."""
    return 2.5 + 5 * np.exp(-30 * x)


def known_by_heart(x: Column) -> Column:
    """The training loss of a model that learns its text by heart."""
    return 7 * np.exp(-9 * x)


def jump(x: Column) -> Column:
    """A finite blow-up that stays."""
    return np.where(x < 0.6, healthy(x), 7.0)


def late(x: Column) -> Column:
    """A blow-up in the last twentieth of the run."""
    return np.where(x < 0.95, healthy(x), 20.0)


def slow(x: Column) -> Column:
    """A rise by three fifths over the second half of the run."""
    return healthy(x) * (1 + 1.2 * np.maximum(0, x - 0.5))


def never(x: Column) -> Column:
    """A loss that climbs above that of a guess (7.62) and falls at the end."""
    return 7.6 + 8 * np.sin(math.pi * x)


def curve(expected: Column, every: int, noise: float, random: np.random.Generator) -> pd.DataFrame:
    """A row every so many steps. The noise is multiplied, because hard sequences lose more."""
    losses = expected * np.exp(random.normal(-(noise**2) / 2, noise, len(expected)))
    steps = every * np.arange(1, len(expected) + 1)
    return pd.DataFrame({"step": steps, "tokens": 256 * steps, "loss": losses})


def share_diverged(
    shape: Callable[[Column], Column],
    n_rows: int,
    noise: float,
    valid: Callable[[Column], Column] | None = None,
    times: int = 25,
) -> float:
    """How many of many simulated runs are called diverged; without `valid` there is no validation curve."""
    random = np.random.Generator(np.random.Philox(key=n_rows))
    count = 0
    for _ in range(times):
        train = curve(shape(np.arange(1, n_rows + 1) / n_rows), 1, noise, random)
        validated = None
        if valid is not None:  # a tenth as often, on the same text each time: nearly without noise
            validated = curve(valid(np.arange(1, 11) / 10), n_rows // 10, 0.01, random)
        count += broke_down(made_result(RUN, 1.0), Curves(train, validated, None, None, None))
    return count / times


# The relative noise of one sequence is about a quarter.
@pytest.mark.parametrize(("n_rows", "noise"), [(20, 0.02), (20, 0.25), (100, 0.4), (1000, 0.25)])
def test_healthy_runs_are_not_called_diverged_however_noisy(n_rows: int, noise: float) -> None:
    for shape in (healthy, flat, known_by_heart):
        assert share_diverged(shape, n_rows, noise) == 0
        assert share_diverged(shape, n_rows, noise, valid=healthy) == 0
    # Validation rises to more than twice its lowest loss where the training text is learned by heart.
    overfitted = share_diverged(known_by_heart, n_rows, noise, valid=lambda x: 3 + 4 * np.exp(-20 * x) + 4 * x)
    assert overfitted == 0


@pytest.mark.parametrize("shape", [jump, late, slow, never])
def test_blow_ups_are_found_in_curves_of_every_noise(shape: Callable[[Column], Column]) -> None:
    assert share_diverged(shape, 1000, 0.25) == 1
    assert share_diverged(shape, 100, 0.02) == 1
    assert share_diverged(shape, 100, 0.25, valid=shape) >= 0.95
    assert share_diverged(shape, 20, 0.02, valid=shape) == 1


def test_one_noisy_row_at_the_end_is_no_divergence() -> None:
    random = np.random.Generator(np.random.Philox(key=7))
    train = curve(healthy(np.arange(1, 101) / 100), 1, 0.02, random)
    train.loc[99, "loss"] = 1.19 * train["loss"].min()
    assert not broke_down(made_result(RUN, 1.0), Curves(train, None, None, None, None))
    train.loc[99, "loss"] = 40.0  # but no noise of this curve reaches so far
    assert broke_down(made_result(RUN, 1.0), Curves(train, None, None, None, None))


@pytest.mark.parametrize("losses", [[7.6, 5.0, 4.0, 4.9], [7.6, 8.0, 9.0, 8.0, 7.5, 7.4]])
def test_a_few_rows_are_enough_where_validation_agrees(losses: list[float]) -> None:
    table = made_curve(losses)
    assert broke_down(made_result(RUN, 1.0), Curves(table, table, None, None, None))
    falling = made_curve([7.6, *np.linspace(5, 4, len(losses) - 1)])
    assert not broke_down(made_result(RUN, 1.0), Curves(table, falling, None, None, None))


def test_a_peak_within_the_first_tenth_is_no_divergence() -> None:
    table = made_curve([9.0, *([5.0] * 30)])
    assert not broke_down(made_result(RUN, 1.0), Curves(table, table, None, None, None))


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
@pytest.mark.parametrize("where", ["metric", "train", "valid"])
def test_a_number_that_is_not_finite_means_diverged(where: str, value: float | None) -> None:
    tables = {name: made_curve([7.6, 5.0, 4.0]) for name in ("train", "valid")}
    if where in tables:
        tables[where].loc[2, "loss"] = value
    result = made_result(RUN, 1.0, **({"loss": value} if where == "metric" else {}))
    assert broke_down(result, Curves(tables["train"], tables["valid"], None, None, None))


def test_a_run_that_the_train_stage_calls_diverged_has_diverged_whatever_its_curve() -> None:
    table = made_curve([7.6, 5.0, 4.0])
    assert broke_down(made_result(RUN, 1.0, diverged=True), Curves(table, table, None, None, None))
    assert broke_down(made_result(RUN, 1.0, diverged=True), Curves(None, None, None, None, None))
    assert not broke_down(made_result(RUN, 1.0), Curves(None, None, None, None, None))
