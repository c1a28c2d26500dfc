"""What a head looks at, as numbers: from attention weights alone, whoever computed them.

Weights have the shape (..., query, key), as many queries as keys, and each row sums to 1. A query looks at itself and
at what stands before it.

The three scores are those of the field: Elhage et al. 2021 (https://transformer-circuits.pub/2021/framework), and
Olsson et al. 2022, "In-context Learning and Induction Heads", whose prefix matching score is `induction_score`
(https://arxiv.org/abs/2209.11895). They are measured on a sequence of random tokens that is repeated once
(`lm.analysis.inside.repeats`). A head that looks at nothing else has the score 1.
"""

import numpy as np
from jaxtyping import Float

Weights = Float[np.ndarray, "*batch seq seq"]


def entropy(weights: Weights) -> Float[np.ndarray, "*batch seq"]:
    """How widely each query looks, in nats: 0 for a single key, log n for n keys alike."""
    logs = np.log(np.where(weights > 0, weights, 1))
    return np.asarray(-(weights * logs).sum(-1))


def mean_distance(weights: Weights) -> Float[np.ndarray, "*batch seq"]:
    """How far back each query looks on average, in tokens; 0 is the query itself."""
    place = np.arange(weights.shape[-1])
    return np.asarray((weights * (place[:, None] - place)).sum(-1))


def first_token_share(weights: Weights) -> Float[np.ndarray, "*batch seq"]:
    """How much of each query's look falls on the first token, where heads with nothing to do like to look.

    Xiao et al. 2023 call it an attention sink (https://arxiv.org/abs/2309.17453).
    """
    return weights[..., 0]


def previous_token_score(weights: Weights) -> Float[np.ndarray, "*batch"]:
    """The mean weight on the token just before the query, over all queries but the first."""
    return _mean_on_diagonal(weights, back=1, first=1)


def duplicate_token_score(weights: Weights, period: int) -> Float[np.ndarray, "*batch"]:
    """The mean weight on the earlier copy of the query's token, over the queries of the second copy."""
    return _mean_on_diagonal(weights, back=period, first=period)


def induction_score(weights: Weights, period: int) -> Float[np.ndarray, "*batch"]:
    """The mean weight on the token after the earlier copy of the query's token: the one to be predicted now."""
    return _mean_on_diagonal(weights, back=period - 1, first=period)


def _mean_on_diagonal(weights: Weights, back: int, first: int) -> Float[np.ndarray, "*batch"]:
    """The mean weight on the key `back` tokens before the query, over the queries from `first` on."""
    queries = np.arange(first, weights.shape[-1])
    assert len(queries), f"{weights.shape[-1]} tokens are too few"
    return np.asarray(weights[..., queries, queries - back].mean(-1))
