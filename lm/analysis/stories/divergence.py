"""How far the words of one set of texts are from those of another."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, Int64

_SCALE = 5.0  # c in equation 1 of Pillutla et al. 2021
_MIXTURES = 25


def closeness(p: Int64[np.ndarray, " bins"], q: Int64[np.ndarray, " bins"]) -> float:
    """MAUVE's area under the divergence curve of two histograms: 1 if they are the same, near 0 if nothing is common.

    Pillutla et al. 2021, https://arxiv.org/abs/2102.01454, section 3: for mixtures r of p and q, the points
    (exp(-c KL(q|r)), exp(-c KL(p|r))) with c = 5. MAUVE's histogram counts clusters of a large model's hidden states;
    here it counts words, so these numbers are not those of the paper. Each histogram must count something.
    """
    one, other = p / p.sum(), q / q.sum()
    points = [(0.0, 1.0)]
    for weight in np.linspace(1, 0, _MIXTURES + 2)[1:-1]:
        mixture = weight * one + (1 - weight) * other
        points.append((np.exp(-_SCALE * _kl(other, mixture)), np.exp(-_SCALE * _kl(one, mixture))))
    points.append((1.0, 0.0))
    x, y = np.array(sorted(points, key=lambda point: (point[0], -point[1]))).T
    return float(np.trapezoid(y, x))


def _kl(p: Float64[np.ndarray, " bins"], q: Float64[np.ndarray, " bins"]) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def histogram(values: Iterable[int] | np.ndarray, common: np.ndarray) -> Int64[np.ndarray, " bins"]:
    """How often each of the sorted `common` values stands in `values`, and in the last bin all others together."""
    array = np.asarray(values)
    place = np.minimum(np.searchsorted(common, array), len(common) - 1)
    known = common[place] == array
    counts = np.bincount(np.where(known, place, len(common)), minlength=len(common) + 1)
    return counts.astype(np.int64)
