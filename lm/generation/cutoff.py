"""Which tokens a filter keeps that takes the fewest tokens of a row, in an order, until they hold enough probability.

A vocabulary is large, and sorting it takes longer than a small model needs for a token. So only the tokens near the
cutoff are sorted. A sample of the row guesses the cutoff. The sum of what the guess keeps says how much probability it
is off, and the sample, how far away the cutoff is. Then only the tokens in between change.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

_STEP = 64  # one light token of so many is in the sample
_MARGIN = 4  # tokens of the sample beyond the cutoff's likely place, up to which tokens are looked at, before more are
_FEW = 1024  # so many tokens are sorted without a sample
_HEAVIEST = 1 / 4096  # what weighs more than this part of all is in the sample for itself

Kept = tuple[Float[np.ndarray, " n"], float]  # the weights, 0 where a token is not taken, and the key of the last one


def take(keys: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], wanted: float, total: float) -> Kept:
    """The tokens with the largest keys, the fewest that weigh `wanted`, and all whose keys equal that of the last one.

    `total` is what all of them weigh. If they weigh less than `wanted`, which rounding may cause, all are taken.
    """
    if len(keys) <= _FEW:
        last = _last_taken(keys, weights, wanted)
        return weights * (keys >= last), last
    sample, ahead = _sample(keys, weights, total)
    guess = max(0, int(ahead.searchsorted(wanted)) - 1)
    larger = keys > sample[guess]
    kept = weights * larger.astype(weights.dtype)  # a product with booleans takes longer than both steps
    above = float(kept.sum())
    likely = int(ahead.searchsorted(ahead[guess] + wanted - above)) - 1
    margin = _MARGIN
    while True:
        if above < wanted:  # the cutoff is the guess or a smaller key
            is_all = likely + margin >= len(sample)
            near = (keys >= (-np.inf if is_all else sample[likely + margin])) ^ larger
        else:
            is_all = likely < margin
            near = larger & (keys <= (np.inf if is_all else sample[likely - margin]))
        places = near.nonzero()[0]
        near_weights = weights[places]
        weight = float(near_weights.sum(dtype=np.float64))
        if is_all or (above + weight >= wanted if above < wanted else above - weight < wanted):
            wanted -= above if above < wanted else 0.0 if is_all else above - weight  # what is taken before these
            near_keys = near_weights if keys is weights else keys[places]
            last = _last_taken(near_keys, near_weights, wanted)
            kept[places] = near_weights * (near_keys >= last)
            return kept, last
        margin *= 4


def take_heaviest(weights: Float[np.ndarray, " n"], wanted: float, total: float) -> Kept:
    """The same with the weights as keys."""
    # All tokens below this share of what may be left out weigh no more than that together.
    heavy = weights > (total - wanted) / len(weights)
    if not 0 < np.count_nonzero(heavy) <= len(weights) // 4:
        return take(weights, weights, wanted, total)
    places = heavy.nonzero()[0]
    of_heavy = weights[places]
    kept = np.zeros_like(weights)
    kept[places], last = take(of_heavy, of_heavy, wanted, float(of_heavy.sum()))
    return kept, last


def _sample(keys: NDArray[Any], weights: NDArray[Any], total: float) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Keys of some tokens, the largest first, and about how much the tokens with a larger key than each of them weigh.

    Each stands for those around it, but all heavy tokens are in it for themselves.
    """
    light = weights[::_STEP]
    if keys is weights:  # the cutoff is among the light ones
        sample, amounts = _falling(light, light)
        amounts = amounts * _STEP
    else:
        heaviest = total * _HEAVIEST
        heavy, standing_for = (weights > heaviest).nonzero()[0], np.where(light > heaviest, 0, light * _STEP)
        sample, amounts = _falling(np.append(keys[heavy], keys[::_STEP]), np.append(weights[heavy], standing_for))
    # Most cutoffs are near the end, so the sums begin there.
    return sample, total - amounts[::-1].cumsum(dtype=np.float64)[::-1]


def _last_taken(keys: NDArray[Any], weights: NDArray[Any], wanted: float) -> float:
    """The key of the last token that `take` takes, by sorting all of them."""
    ranked, ranked_weights = _falling(keys, weights)
    reached = ranked_weights.cumsum(dtype=np.float64)
    return float(ranked[min(int(reached.searchsorted(wanted)), len(ranked) - 1)])


def _falling(keys: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both in the order of the keys, the largest first."""
    if keys is weights:
        ranked = np.sort(keys)[::-1]  # several times as fast as finding the order
        return ranked, ranked
    order = keys.argsort()[::-1]
    return keys[order], weights[order]
