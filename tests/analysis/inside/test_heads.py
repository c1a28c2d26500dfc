"""Measures of attention on patterns made by hand, whose numbers are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lm.analysis.inside.heads import (
    duplicate_token_score,
    entropy,
    first_token_share,
    induction_score,
    mean_distance,
    previous_token_score,
)

PERIOD = 5
SEQ = 2 * PERIOD


def looking_back(distance: int) -> NDArray[np.float64]:
    """A head that looks at the token so far before; where there is none, at the first."""
    pattern, place = np.zeros((SEQ, SEQ)), np.arange(SEQ)
    pattern[place, np.maximum(place - distance, 0)] = 1
    return pattern


UNIFORM = np.tril(np.ones((SEQ, SEQ))) / np.arange(1, SEQ + 1)[:, None]


def scores(weights: NDArray[np.float64]) -> list[float]:
    return [
        float(previous_token_score(weights)),
        float(duplicate_token_score(weights, PERIOD)),
        float(induction_score(weights, PERIOD)),
    ]


@pytest.mark.parametrize(
    ("distance", "known"),
    [(1, [1, 0, 0]), (PERIOD, [1 / (SEQ - 1), 1, 0]), (PERIOD - 1, [1 / (SEQ - 1), 0, 1]), (0, [0, 0, 0])],
)
def test_a_head_that_does_one_thing_has_the_score_1_for_it(distance: int, known: list[float]) -> None:
    # At the start, where a head cannot look as far back, it looks at the first token, which is once the previous one.
    assert scores(looking_back(distance)) == pytest.approx(known, abs=0)


def test_a_head_that_looks_everywhere_has_the_score_of_chance() -> None:
    second = np.mean([1 / (query + 1) for query in range(PERIOD, SEQ)])
    assert scores(UNIFORM) == pytest.approx([np.mean([1 / (query + 1) for query in range(1, SEQ)]), second, second])


def test_entropy_distance_and_sink_of_known_patterns() -> None:
    place = np.arange(SEQ)
    np.testing.assert_array_equal(entropy(looking_back(3)), 0)
    np.testing.assert_allclose(entropy(UNIFORM), np.log(place + 1), atol=1e-12)
    np.testing.assert_array_equal(mean_distance(looking_back(3)), np.minimum(place, 3))
    np.testing.assert_allclose(mean_distance(UNIFORM), place / 2)
    np.testing.assert_array_equal(first_token_share(looking_back(SEQ)), 1)
    np.testing.assert_allclose(first_token_share(UNIFORM), 1 / (place + 1))


def test_heads_are_measured_one_by_one() -> None:
    both = np.stack([looking_back(1), UNIFORM])
    for measure in (entropy, mean_distance, first_token_share, previous_token_score):
        np.testing.assert_array_equal(measure(both), [measure(looking_back(1)), measure(UNIFORM)])


def test_one_token_has_nothing_before_it() -> None:
    one = np.ones((1, 1))
    assert entropy(one) == mean_distance(one) == 0
    with pytest.raises(AssertionError, match="1 tokens are too few"):
        previous_token_score(one)
