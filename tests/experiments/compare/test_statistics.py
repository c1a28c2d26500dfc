"""Tests of experiments/compare/statistics.py."""

import math

import numpy as np
import pytest

from experiments.compare.statistics import difference, pooled_spread, summarise


def test_a_summary_has_mean_and_spread_of_the_sample() -> None:
    summary = summarise([1.0, 2.0, 4.0])
    assert summary is not None
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.n == 3
    assert summary.spread == pytest.approx(np.std([1, 2, 4], ddof=1))


def test_a_single_value_has_no_spread_and_no_value_has_no_summary() -> None:
    summary = summarise([3.0])
    assert summary is not None
    assert summary.spread is None
    assert summarise([]) is None


def test_the_pooled_spread_is_that_of_an_analysis_of_variance() -> None:
    groups = [[1.0, 3.0], [10.0, 11.0, 12.0], [5.0], []]
    within = [group - np.mean(group) for group in map(np.array, groups[:3])]
    assert pooled_spread(groups) == pytest.approx(math.sqrt((np.concatenate(within) ** 2).sum() / 3))
    assert pooled_spread([[1.0], [2.0], []]) is None


def test_the_error_of_a_difference_is_what_repeating_the_experiment_shows() -> None:
    random = np.random.Generator(np.random.Philox(key=5))
    squared_errors, differences = [], []
    for _ in range(4000):
        groups = [list(random.normal(0, 0.1, 2)) for _ in range(8)]
        measured = difference(groups[1], groups[0], pooled_spread(groups))
        assert measured.standard_error is not None
        differences.append(measured.value)
        squared_errors.append(measured.standard_error**2)
    # The mean of 4,000 squares with 8 degrees of freedom is within 2 % of its expectation.
    assert np.mean(squared_errors) == pytest.approx(0.1**2, rel=0.02)
    assert np.var(differences) == pytest.approx(0.1**2, rel=0.1)


def test_without_a_second_seed_there_is_no_error() -> None:
    measured = difference([2.0], [1.5], None)
    assert (measured.value, measured.standard_error) == (0.5, None)
