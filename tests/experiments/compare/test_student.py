"""Tests of experiments/compare/student.py."""

import math

import pytest

from experiments.compare.student import holm, p_value


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (8, 2.30600), (9, 2.26216), (30, 2.04227)],
)
def test_p_is_a_twentieth_at_the_values_of_the_table(degrees: int, t: float) -> None:
    assert p_value(t, degrees) == pytest.approx(0.05, rel=1e-5)
    assert p_value(-t, degrees) == p_value(t, degrees)


def test_p_at_other_values() -> None:
    assert p_value(63.6567, 1) == pytest.approx(0.01, rel=1e-5)
    assert p_value(8.61030, 4) == pytest.approx(0.001, rel=1e-4)
    assert p_value(1.95996, 1_000_000) == pytest.approx(0.05, rel=1e-4)  # nearly a normal distribution
    assert (p_value(0.0, 1), p_value(0.0, 2), p_value(math.inf, 5)) == (1, 1, 0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons_and_keeps_their_order() -> None:
    assert holm({"a": 0.03, "b": 0.01, "c": 0.04, "d": 0.9}) == pytest.approx(
        {"b": 0.04, "a": 0.09, "c": 0.09, "d": 0.9}
    )
    assert holm({"a": 0.6, "b": 0.7}) == pytest.approx({"a": 1, "b": 1})
    assert holm({}) == {}
