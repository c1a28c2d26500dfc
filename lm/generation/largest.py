"""The largest logits of each row. They are found on the device of the logits, and only these few go to the CPU.

The functions take arrays, and tensors on a GPU. PyTorch is not imported, because the model in NumPy must generate
without it.
"""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray


def on_host(logits: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
    """The logits as an array if they are on the CPU, otherwise unchanged. No copy if NumPy has their type."""
    if isinstance(logits, np.ndarray):
        return logits
    logits = logits.detach()
    if logits.device.type != "cpu":
        return logits
    return (logits.float() if logits.element_size() < 4 else logits).numpy()


def finite(logits: Float[Any, "batch vocab"]) -> Float[Any, "batch vocab"]:
    """The logits. Where a model has diverged, NaN and infinities become numbers, so that some token can be chosen."""
    if np.isfinite(peak(logits)).all():
        return logits
    return np.nan_to_num(logits) if isinstance(logits, np.ndarray) else logits.nan_to_num()


def largest(
    logits: Float[Any, "batch vocab"], n: int
) -> tuple[Int64[np.ndarray, "batch n"], Float[np.ndarray, "batch n"]]:
    """The n largest logits of each row and their ids, in the order of the ids. Among equals the lower id is taken."""
    batch, vocab_size = logits.shape
    if n >= vocab_size:
        values = logits if isinstance(logits, np.ndarray) else _float64(logits)
        return np.broadcast_to(np.arange(vocab_size), (batch, vocab_size)), values
    if isinstance(logits, np.ndarray):
        ids = np.array([largest_of_row(row, n) for row in logits])
        return ids, np.take_along_axis(logits, ids, -1)
    nth_largest = logits.topk(n, sorted=False).values.amin(-1, keepdim=True)
    kept, equal = logits > nth_largest, logits == nth_largest
    kept |= equal & (equal.cumsum(-1) <= n - kept.sum(-1, keepdim=True))
    return kept.nonzero()[:, 1].cpu().numpy().reshape(batch, n), _float64(logits[kept]).reshape(batch, n)


def peak(logits: Float[Any, "batch vocab"]) -> Float[np.ndarray, " batch"]:
    """The largest logit of each row."""
    return logits.max(-1) if isinstance(logits, np.ndarray) else _float64(logits.amax(-1))


def sum_of_weights(logits: Float[Any, "batch vocab"], temperature: float) -> Float64[np.ndarray, " batch"]:
    """The sum of exp((logit - largest logit) / temperature) over each row."""
    if isinstance(logits, np.ndarray):
        return np.array([weights_of(row, temperature).sum(dtype=np.float64) for row in logits])
    x = logits.double() if logits.device.type in ("cpu", "cuda") else logits.float()  # others may have no float64
    x = x - x.amax(-1, keepdim=True)
    weights: Any = (x / max(temperature, _smallest(x.element_size()))).exp()
    return _float64(weights.sum(-1))


def weights_of(logits: Float[np.ndarray, " n"], temperature: float) -> Float[np.ndarray, " n"]:
    """exp((logit - largest logit) / temperature): the probabilities up to a factor."""
    divisor = max(temperature, _smallest(logits.itemsize))
    with np.errstate(over="ignore"):  # what lies too far below the largest goes to -infinity, whose exp is 0
        weights: NDArray[Any] = logits - logits.max()
        if divisor != 1:
            weights /= divisor
    np.exp(weights, out=weights)
    return weights


def largest_of_row(row: Float[np.ndarray, " vocab"], n: int) -> Int64[np.ndarray, " n"]:
    """The ids of the n largest numbers, in rising order. A few numbers are looked at if n is small."""
    ids, n_groups = None, 4 * n
    whole = len(row) // n_groups * n_groups
    if whole > n_groups:
        # The largest numbers of the groups are n and more. So the nth of them is no larger than the nth of all.
        heads = row[:whole].reshape(-1, n_groups).max(0)
        ids = (row >= np.partition(heads, n_groups - n)[n_groups - n]).nonzero()[0]
        row = row[ids]
    nth_largest = np.partition(row, len(row) - n)[len(row) - n]
    above, equal = (row > nth_largest).nonzero()[0], (row == nth_largest).nonzero()[0]
    kept = np.sort(np.concatenate([above, equal[: n - len(above)]]))
    return kept if ids is None else ids[kept]


def _float64(x: Any) -> NDArray[np.float64]:
    array: NDArray[Any] = x if isinstance(x, np.ndarray) else x.cpu().double().numpy()
    return array.astype(np.float64, copy=False)


@cache
def _smallest(n_bytes: int) -> float:
    """The smallest normal number of a float type. Some devices take a smaller divisor for zero."""
    return float(np.finfo(f"f{n_bytes}").tiny)
