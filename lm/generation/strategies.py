"""How the next token is chosen from logits."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray


def distribution(
    logits: NDArray[np.float64], temperature: float, top_k: int | None, top_p: float | None
) -> Float64[np.ndarray, "batch vocab"]:
    """The probabilities to draw from, of logits (batch, vocab).

    `temperature` divides the logits; 0 puts all probability on the likeliest token (greedy). `top_k` keeps the k
    likeliest tokens (Fan et al. 2018, https://arxiv.org/abs/1805.04833), `top_p` the fewest whose probabilities add up
    to p or more (nucleus sampling, Holtzman et al. 2019, https://arxiv.org/abs/1904.09751); both after temperature,
    top-k first. Among equals the lower id goes first.
    """
    if temperature == 0:
        top_k, temperature = 1, 1.0
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(logits, order, axis=-1) / temperature
    probabilities = np.exp(ranked - ranked[:, :1])
    if top_k is not None:
        probabilities[:, top_k:] = 0
    probabilities /= probabilities.sum(-1, keepdims=True)
    if top_p is not None:
        before = np.cumsum(probabilities, axis=-1) - probabilities
        probabilities[before >= top_p] = 0
        probabilities /= probabilities.sum(-1, keepdims=True)
    result = np.empty_like(probabilities)
    np.put_along_axis(result, order, probabilities, axis=-1)
    return result


def draw(probabilities: NDArray[np.float64], uniform: NDArray[np.float64]) -> Int64[np.ndarray, " batch"]:
    """One id a row, by inverting the cumulative distribution at `uniform`, numbers in [0, 1), one a row."""
    cumulative = np.cumsum(probabilities, axis=-1)
    ids: NDArray[np.int64] = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(-1)
    return ids
