"""The largest logits of each row. They are found on the device of the logits, and only these few go to the CPU.

The functions take arrays, and tensors on a GPU. PyTorch is not imported, because the model in NumPy must generate
without it.
"""

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
    if np.isfinite(_peak(logits)).all():
        return logits
    return np.nan_to_num(logits) if isinstance(logits, np.ndarray) else logits.nan_to_num()


def largest(
    logits: Float[Any, "batch vocab"], n: int
) -> tuple[Int64[np.ndarray, "batch n"], Float64[np.ndarray, "batch n"]]:
    """The n largest logits of each row and their ids, in the order of the ids. Among equals the lower id is taken."""
    batch, vocab_size = logits.shape
    if n >= vocab_size:
        return np.broadcast_to(np.arange(vocab_size), (batch, vocab_size)), _float64(logits)
    kept = first(logits, n, _nth_largest(logits, n))
    ids = kept.nonzero()[1] if isinstance(kept, np.ndarray) else kept.nonzero()[:, 1].cpu().numpy()
    return ids.reshape(batch, n), _float64(logits[kept]).reshape(batch, n)


def top_values(logits: Float[Any, "batch vocab"], n: int) -> Float64[np.ndarray, "batch n"]:
    """The n largest logits of each row, the largest first."""
    if not isinstance(logits, np.ndarray):
        return _float64(logits.topk(n).values)
    place = logits.shape[1] - n
    top = np.partition(logits, place)[:, place:] if place else logits
    return _float64(np.sort(top)[:, ::-1])


def first(logits: Float[Any, "batch vocab"], n: Any, nth_largest: Float[Any, "batch 1"]) -> Any:
    """True for the n largest of each row: bools (batch, vocab).

    Among logits equal to the nth largest, those with the lower ids are taken. n is a number, or an array (batch, 1).
    """
    kept, equal = logits > nth_largest, logits == nth_largest
    n_missing = n - kept.sum(-1)[:, None]
    if (equal.sum(-1)[:, None] > n_missing).any():
        equal &= equal.cumsum(-1) <= n_missing
    return kept | equal


def sum_of_weights(logits: Float[Any, "batch vocab"], temperature: float) -> Float64[np.ndarray, " batch"]:
    """The sum of exp((logit - largest logit) / temperature) over each row."""
    if isinstance(logits, np.ndarray):
        return _float64(weights_of(_float64(logits), temperature).sum(-1))
    x = logits.double() if logits.device.type in ("cpu", "cuda") else logits.float()  # others may have no float64
    x = x - x.amax(-1, keepdim=True)
    weights: Any = (x / max(temperature, _smallest(x.element_size()))).exp()
    return _float64(weights.sum(-1))


def weights_of(logits: Float64[np.ndarray, "batch n"], temperature: float) -> Float64[np.ndarray, "batch n"]:
    """exp((logit - largest logit) / temperature): the probabilities up to a factor."""
    with np.errstate(over="ignore"):  # at a temperature near 0 all but the largest go to -infinity, whose exp is 0
        weights: NDArray[np.float64] = logits - logits.max(-1, keepdims=True)
        weights /= max(temperature, _smallest(8))
    return np.exp(weights, out=weights)


def _nth_largest(logits: Any, n: int) -> Any:
    if isinstance(logits, np.ndarray):
        place = logits.shape[1] - n
        return np.partition(logits, place)[:, place, None]
    return logits.topk(n, sorted=False).values.amin(-1, keepdim=True)


def _peak(logits: Any) -> Any:
    return logits.max(-1) if isinstance(logits, np.ndarray) else _float64(logits.amax(-1))


def _float64(x: Any) -> NDArray[np.float64]:
    array: NDArray[Any] = x if isinstance(x, np.ndarray) else x.cpu().double().numpy()
    return array.astype(np.float64, copy=False)


def _smallest(n_bytes: int) -> float:
    """The smallest normal number of a float type. Some devices take a smaller divisor for zero."""
    return float(np.finfo(f"f{n_bytes}").tiny)
