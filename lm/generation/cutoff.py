"""Which tokens a filter keeps that takes the fewest tokens of a row, in an order, until they hold enough probability.

A vocabulary is large, and sorting it takes longer than a small model needs for a token. So only the tokens near the
cutoff are sorted. A sample of the row, every 32nd token, says where the cutoff may be, and sums say where it is.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

_STEP = 32  # one token of so many is in the sample
_WINDOW = 24  # tokens of the sample that are looked at on each side of the guess, before more are
_FEW = 2048  # so many tokens are sorted without a sample


def cutoff(keys: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], wanted: float) -> float:
    """The key of the last token that is taken, if tokens with larger keys are taken first, until they weigh `wanted`.

    If all of them together weigh less, which rounding may cause, it is the smallest key.
    """
    sample, sample_weights = _falling(keys[::_STEP], weights[::_STEP])
    # The guess looks at the tokens after the cutoff, because the sample may lack the few that weigh most.
    after = sample_weights.cumsum(dtype=np.float64)
    guess = min(int(after.searchsorted(after[-1] - (weights.sum() - wanted) / _STEP)), len(sample) - 1)
    window = _WINDOW if len(keys) > _FEW else len(sample)
    while True:
        start, end = guess - window, guess + window
        near, above = keys >= (sample[end] if end < len(sample) else -np.inf), 0.0
        if start >= 0:
            larger = keys > sample[start]
            above = float((weights * larger).sum())
            near ^= larger
        places = near.nonzero()[0]
        ranked, ranked_weights = _falling(keys[places], weights[places])
        reached = above + ranked_weights.cumsum(dtype=np.float64)
        if above < wanted <= reached[-1] or (start < 0 and end >= len(sample)):
            return float(ranked[min(int(reached.searchsorted(wanted)), len(ranked) - 1)])
        window *= 4


def cutoff_of_weights(weights: Float[np.ndarray, " n"], wanted: float) -> float:
    """The weight of the last token that is taken, if the heaviest are taken first, until they weigh `wanted`."""
    # All tokens below this share of what may be left out weigh no more than that together.
    heavy = weights > (weights.sum() - wanted) / len(weights)
    if 0 < np.count_nonzero(heavy) <= _FEW:
        weights = weights[heavy]
        ranked = np.sort(weights)[::-1]
        return float(ranked[min(int(ranked.cumsum(dtype=np.float64).searchsorted(wanted)), len(ranked) - 1)])
    return cutoff(weights, weights, wanted)


def _falling(keys: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both in the order of the keys, the largest first."""
    order = keys.argsort()[::-1]
    return keys[order], weights[order]
