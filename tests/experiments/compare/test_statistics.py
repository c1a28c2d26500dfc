"""Tests of experiments/compare/statistics.py."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from experiments.compare.statistics import differences, summarise


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


def test_two_experiments_with_the_same_seeds_are_compared_by_the_paired_t_test() -> None:
    found = differences({"base": {1: 1.0, 2: 2.0, 3: 3.0}, "other": {1: 1.1, 2: 2.3, 3: 3.2}}, "base")["other"]
    assert found.value == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.1 / math.sqrt(3))  # 0.1, 0.3, 0.2 deviate by 0.1
    assert found.degrees == 2
    assert found.p == pytest.approx(0.0741799, rel=1e-5)  # t = 3.4641


def test_only_seeds_that_both_have_are_compared() -> None:
    found = differences({"base": {1: 1.0, 2: 2.0, 9: 50.0}, "other": {1: 1.1, 2: 2.3, 8: -7.0}}, "base")["other"]
    assert found.degrees == 1
    assert found.value == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.1)


def test_without_two_common_seeds_the_means_are_compared_by_students_test() -> None:
    found = differences({"base": {1: 1.0, 2: 2.0}, "other": {2: 3.0, 3: 5.0, 4: 4.0}}, "base")["other"]
    assert (found.value, found.degrees) == (2.5, 3)
    assert found.standard_error == pytest.approx(math.sqrt(2.5 / 3 * (1 / 2 + 1 / 3)))
    assert found.p == pytest.approx(0.0577, rel=1e-3)  # t = 3


def test_one_seed_against_one_seed_says_nothing_about_luck() -> None:
    found = differences({"base": {1: 1.5}, "other": {1: 2.0}, "third": {2: 2.5}, "none": {}}, "base")
    assert {name: (each.value, each.standard_error, each.p) for name, each in found.items()} == {
        "other": (0.5, None, None),
        "third": (1.0, None, None),
    }


def test_no_noise_at_all_gives_certainty() -> None:
    found = differences({"base": {1: 1.0, 2: 1.0}, "same": {1: 1.0, 2: 1.0}, "other": {1: 2.0, 2: 2.0}}, "base")
    assert {name: each.p for name, each in found.items()} == {"same": 1, "other": 0}


def share_apart(seeds: Mapping[str, Sequence[int]], of_seed: float) -> float:
    """How often some of several experiments that are the same is called different from the first one."""
    random = np.random.Generator(np.random.Philox(key=9))
    count, times = 0, 2000
    for _ in range(times):
        offsets = random.normal(0, of_seed, 10)
        values = {name: {seed: offsets[seed] + random.normal() for seed in each} for name, each in seeds.items()}
        count += any(
            found.p is not None and found.p < 0.05 for found in differences(values, next(iter(seeds))).values()
        )
    return count / times


@pytest.mark.parametrize("of_seed", [0.0, 3.0])
@pytest.mark.parametrize(
    "seeds",
    [
        {"base": [1, 2], "other": [1]},
        {"base": [1, 2], "other": [3]},
        {"base": [1, 2], "other": [1, 2]},
        {"base": [1, 2, 3], **{name: [1, 2] for name in "abcdefg"}},
        {"base": [1, 2], "a": [1, 2], "b": [2, 3, 4], "c": [1], "d": [5, 6]},
    ],
)
def test_experiments_that_are_the_same_are_called_different_in_at_most_one_case_of_twenty(
    seeds: dict[str, list[int]], of_seed: float
) -> None:
    assert share_apart(seeds, of_seed) < 0.05 + 0.015  # three deviations of a share of 0.05 in 2,000 cases


def test_a_real_difference_is_found_also_beside_the_noise_of_seeds() -> None:
    random = np.random.Generator(np.random.Philox(key=3))
    n_found = 0
    for _ in range(200):
        offsets = random.normal(0, 5, 4)
        values = {name: {i: offsets[i] + random.normal(shift, 0.2) for i in range(4)} for name, shift in
                  {"base": 0, "same": 0, "better": -1.5, "worse": 2}.items()}  # fmt: skip
        found = differences(values, "base")
        n_found += all((found[name].p or 0) < 0.05 for name in ("better", "worse"))
    assert n_found > 190
