"""What probability a model gives to the tokens that are chosen, and to the likeliest ones in their place."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from lm.generation.largest import finite, largest, on_host, peak, sum_of_weights


class Likeliest(NamedTuple):
    """The likeliest tokens of each row, the likeliest first, and the natural logarithms of their probabilities."""

    ids: Int64[np.ndarray, "batch n"]
    logprobs: Float64[np.ndarray, "batch n"]

    def of_row(self, row: int) -> tuple[tuple[int, float], ...]:
        """The pairs of one row."""
        return tuple(zip(self.ids[row].tolist(), self.logprobs[row].tolist(), strict=True))


def log_softmax(logits: Float[Any, "batch vocab"]) -> Float[Any, "batch vocab"]:
    """The natural logarithm of the probability of each id: an array on the CPU, a tensor elsewhere."""
    logits = finite(on_host(logits))
    whole = _whole(logits)[:, None]
    if isinstance(logits, np.ndarray):
        return logits - whole
    wide = logits.float()
    return wide - wide.new_tensor(whole)


def log_probabilities(
    logits: Float[Any, "batch vocab"], ids: Int64[np.ndarray, " batch"], n: int
) -> tuple[Float64[np.ndarray, " batch"], Likeliest]:
    """The natural logarithm of the probability of one id per row, and the n likeliest tokens of each row.

    The logits are an array or a tensor on any device. Among equally likely tokens the lower id goes first.
    """
    logits = finite(on_host(logits))
    whole = _whole(logits)
    logprobs = at(logits, np.arange(len(ids)), ids) - whole
    likeliest, values = largest(logits, n) if n else (np.zeros((len(ids), 0), np.int64), np.zeros((len(ids), 0)))
    order = np.argsort(-values, axis=-1, kind="stable")
    ranked = Likeliest(np.take_along_axis(likeliest, order, -1), np.take_along_axis(values, order, -1) - whole[:, None])
    return logprobs, ranked


def at(
    logits: Float[Any, "batch vocab"], rows: Int64[np.ndarray, " n"], ids: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The logits of pairs of a row and an id."""
    values = logits[rows, ids]
    array = values if isinstance(values, np.ndarray) else values.cpu().double().numpy()
    return array.astype(np.float64, copy=False)


def _whole(logits: Float[Any, "batch vocab"]) -> Float64[np.ndarray, " batch"]:
    """The logarithm of the sum of exp(logit) over each row."""
    whole: Float64[np.ndarray, " batch"] = peak(logits) + np.log(sum_of_weights(logits, 1.0))
    return whole
