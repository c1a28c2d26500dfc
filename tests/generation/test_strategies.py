"""Tests of lm/generation/strategies.py."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lm.generation.strategies import distribution, draw

# Logits with ties, which a few decimals make likely.
logits = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 12)),
    elements=st.integers(-40, 40).map(lambda tenths: tenths / 10),
)
temperatures = st.sampled_from([0.0, 0.05, 0.5, 1.0, 2.0])
top_ks = st.none() | st.integers(1, 14)
top_ps = st.none() | st.sampled_from([0.001, 0.3, 0.5, 0.9, 0.999, 1.0])


def brute_force(row: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """The rules one after another, on a dictionary of probabilities."""
    if temperature == 0:
        best = max(range(len(row)), key=lambda id: (row[id], -id))
        return [float(id == best) for id in range(len(row))]
    weights = {id: math.exp((logit - max(row)) / temperature) for id, logit in enumerate(row)}
    ranked = sorted(weights, key=lambda id: (-row[id], id))[:top_k]
    total = math.fsum(weights[id] for id in ranked)
    if top_p is not None:
        n = next((n for n in range(1, len(ranked)) if sum(weights[id] for id in ranked[:n]) >= top_p * total), None)
        ranked = ranked[:n]
        total = math.fsum(weights[id] for id in ranked)
    return [weights[id] / total if id in ranked else 0.0 for id in range(len(row))]


@given(logits, temperatures, top_ks, top_ps)
def test_the_distribution_follows_the_rules_and_sums_to_one(
    logits: NDArray[np.float64], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    result = distribution(logits.copy(), temperature, top_k, top_p)
    # Both sides are float64; where a sum just reaches p, rounding may keep or drop one more token than brute force.
    at_edge = top_p is not None and any(
        abs(total - top_p) < 1e-9
        for row in logits.tolist()
        for total in np.cumsum(sorted(brute_force(row, temperature, top_k, None), reverse=True))
    )
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(-1), 1, rtol=0, atol=1e-12)
    if not at_edge:
        expected = [brute_force(row, temperature, top_k, top_p) for row in logits.tolist()]
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-300)


@given(logits, top_ks)
def test_temperature_zero_is_greedy_and_takes_the_lower_id_of_equals(
    logits: NDArray[np.float64], top_k: int | None
) -> None:
    result = distribution(logits, 0.0, top_k, None)
    assert result.argmax(-1).tolist() == logits.argmax(-1).tolist()
    assert np.unique(result).tolist() in ([0.0, 1.0], [1.0])


@given(logits, st.integers(1, 14))
def test_top_k_keeps_k_tokens(logits: NDArray[np.float64], top_k: int) -> None:
    result = distribution(logits, 1.0, top_k, None)
    assert ((result > 0).sum(-1) == min(top_k, logits.shape[1])).all()


@given(logits, st.floats(0.01, 1.0))
def test_the_nucleus_is_the_smallest_set_that_reaches_p(logits: NDArray[np.float64], top_p: float) -> None:
    full, kept = distribution(logits, 1.0, None, None), distribution(logits, 1.0, None, top_p) > 0
    for probabilities, nucleus in zip(full, kept, strict=True):
        # A dozen float64 additions of numbers below 1 err by less than 12 * 1.1e-16.
        assert probabilities[nucleus].sum() >= top_p - 1e-14
        assert probabilities[nucleus].sum() - probabilities[nucleus].min() < top_p + 1e-14
        assert not (~nucleus).any() or probabilities[nucleus].min() >= probabilities[~nucleus].max()


def test_among_equals_the_lower_id_stays() -> None:
    assert distribution(np.zeros((1, 4)), 1.0, 2, None).tolist() == [[0.5, 0.5, 0, 0]]
    assert distribution(np.zeros((1, 4)), 1.0, None, 0.5).tolist() == [[0.5, 0.5, 0, 0]]
    assert distribution(np.zeros((1, 4)), 0.0, None, None).tolist() == [[1, 0, 0, 0]]


def test_top_p_counts_within_the_top_k() -> None:
    # Of 0.4, 0.3, 0.2, 0.1 the first two are 4/7 and 3/7: the first alone reaches a half, though 0.4 does not.
    logits = np.log([[0.1, 0.4, 0.2, 0.3]])
    assert distribution(logits, 1.0, 2, 0.5).tolist() == [[0, 1, 0, 0]]


def test_logits_of_any_size_are_fine() -> None:
    for scale in (1e-300, 1e4, 1e300):
        result = distribution(np.array([[-1.0, 0.0, 1.0]]) * scale, 1.0, None, None)
        # Finite arithmetic on one to three numbers.
        assert result.sum() == pytest.approx(1, abs=1e-15)
        assert result[0, 2] == result.max()


def probabilities_and_uniform() -> st.SearchStrategy[tuple[Any, float]]:
    weights = st.lists(st.sampled_from([0.0, 0.0, 1e-30, 0.1, 1.0, 3.0]), min_size=1, max_size=12).filter(any)
    uniform = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 5e-324, 0.5, 1 - 2**-53])
    return st.tuples(weights, uniform)


@given(probabilities_and_uniform())
def test_a_draw_inverts_the_cumulative_distribution_and_never_takes_what_has_no_probability(
    case: tuple[list[float], float],
) -> None:
    weights, uniform = case
    probabilities = np.array([weights]) / sum(weights)
    id = int(draw(probabilities, np.array([uniform]))[0])
    assert probabilities[0, id] > 0
    # As many additions as there are ids, each rounded by 1.1e-16 at most.
    assert probabilities[0, :id].sum() <= uniform + 2e-15
    assert probabilities[0, : id + 1].sum() >= uniform - 2e-15


def test_each_row_is_drawn_with_a_number_of_its_own() -> None:
    probabilities = np.array([[0.25, 0.25, 0.5]] * 4)
    assert draw(probabilities, np.array([0.0, 0.25, 0.4999, 0.5])).tolist() == [0, 1, 1, 2]


def test_draws_come_as_often_as_their_probability_says() -> None:
    probabilities = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    n = 20_000
    uniform = np.random.Generator(np.random.Philox(key=0)).random(n)
    counts = np.bincount(draw(np.tile(probabilities, (n, 1)), uniform), minlength=5)
    # Four standard deviations of a binomial count.
    assert (np.abs(counts - n * probabilities) <= 4 * np.sqrt(n * probabilities * (1 - probabilities))).all()
