"""How the next token is chosen on a GPU: as in `lm.generation.sampling`, without a look at the logits from outside."""

from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lm.generation.sampling import Sampling
from lm.system.recording import Record, call_and_record

_MOST_RECORDS = 32  # of them the last ones stay


def choose_on_device(
    logits: Float[Tensor, "batch vocab"], sampling: Sampling, uniform: Float64[np.ndarray, " batch"]
) -> Int64[np.ndarray, " batch"]:
    """One id per row: that of `sampling.choose`. Only these ids leave the device."""
    draws, n = torch.from_numpy(uniform), len(logits)
    if logits.device.type != "cuda":
        return _choose(logits, draws.to(logits.device, _exact(logits)), sampling).cpu().numpy()
    n_rows = 1 << (n - 1).bit_length()  # few sizes, because each is recorded
    recorded = _recorded(sampling, n_rows, logits.shape[1], logits.dtype, logits.device)
    for place, values in zip(recorded.inputs, (logits.detach(), draws), strict=True):
        place[:n].copy_(values, non_blocking=True)
    recorded.replay()
    return recorded.output[:n].cpu().numpy()


@lru_cache(_MOST_RECORDS)
def _recorded(
    sampling: Sampling, n_rows: int, vocab_size: int, dtype: torch.dtype, device: torch.device
) -> Record[Tensor]:
    """Choosing for so many rows, recorded: it has some forty kernels that take less time than their start."""
    logits = torch.zeros(n_rows, vocab_size, dtype=dtype, device=device)
    draws = torch.zeros(n_rows, dtype=_exact(logits), device=device)
    return call_and_record(partial(_choose, sampling=sampling), [logits, draws], pool=_pool())


@cache
def _pool() -> Any:
    """The memory that all records share."""
    return torch.cuda.graph_pool_handle()


def _choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    if sampling.temperature == 0:
        return logits.nan_to_num().argmax(-1)
    reached = kept_weights(logits, sampling).cumsum(-1)
    wanted = draws[:, None] * reached[:, -1:]
    # Rounding must not carry the sum past the last token that may be drawn.
    return (reached <= wanted).sum(-1).clamp_max((reached < reached[:, -1:]).sum(-1))


def kept_weights(logits: Float[Tensor, "batch vocab"], sampling: Sampling) -> Float[Tensor, "batch vocab"]:
    """The weight of each token as in `sampling.candidates`, 0 for what is no candidate; the temperature is above 0."""
    finite = logits.detach().nan_to_num()
    if not _filters(sampling):
        return _weights(finite, finite.amax(-1, keepdim=True), sampling)
    ranked, ids = finite.sort(dim=-1, descending=True, stable=True)  # in few bits, because a GPU sorts bit by bit
    kept = _kept(_weights(ranked, ranked[:, :1], sampling), sampling)
    return torch.empty_like(kept).scatter_(-1, ids, kept)


def _exact(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.device.type in ("cpu", "cuda") else torch.float32  # others may have no float64


def _weights(logits: Tensor, largest: Tensor, sampling: Sampling) -> Tensor:
    exact = _exact(logits)
    return ((logits.to(exact) - largest) / max(sampling.temperature, torch.finfo(exact).tiny)).exp()


def _filters(sampling: Sampling) -> bool:
    return any(x is not None for x in (sampling.top_k, sampling.top_p, sampling.min_p, sampling.typical_p))


def _kept(weights: Tensor, sampling: Sampling) -> Tensor:
    """The weights, the largest first, with 0 for what the filters leave out."""
    if sampling.top_k is not None:
        weights[:, sampling.top_k :] = 0
    if sampling.top_p is not None and sampling.top_p < 1:
        reached = weights.cumsum(-1)
        weights = weights.masked_fill(reached - weights >= sampling.top_p * reached[:, -1:], 0)
    if sampling.min_p is not None:
        weights = weights.masked_fill(weights < sampling.min_p, 0)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        weights = _typical(weights, sampling.typical_p)
    return weights


def _typical(weights: Tensor, p: float) -> Tensor:
    probabilities = weights / weights.sum(-1, keepdim=True)
    surprise: Any = -probabilities.clamp_min(torch.finfo(weights.dtype).tiny).log()
    distance = (surprise - (probabilities * surprise).sum(-1, keepdim=True)).abs()
    distance = distance.masked_fill(weights == 0, torch.inf)
    ranked, order = distance.sort(-1)
    reached = probabilities.gather(-1, order).cumsum(-1)
    last = (reached < p).sum(-1, keepdim=True).clamp_max(weights.shape[1] - 1)
    return weights.masked_fill(distance > ranked.gather(-1, last), 0)
