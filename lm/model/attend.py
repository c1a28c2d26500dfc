"""The attention function itself: softmax(q k^T / sqrt(d_head) + mask) v, by the faster of two kernels.

PyTorch's fused kernel never stores the scores. The math kernel, as PyTorch calls it, computes the formula by plain
matrix products. On a CPU, in half precision and with short contexts, it is faster, because the processor has
instructions for such products and the fused kernel does not use them (docs/results/training-speed.md).
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

_SHORT = 1024  # positions; in longer contexts the probabilities that are kept take too much memory
_QUERIES = 128  # computed together

Kernel = Literal["fused", "math", "flex"]  # `flex` is in lm.model.flex, and `fused` here
Mask = (
    Bool[Tensor, "query key"]
    | Bool[Tensor, "batch 1 query key"]
    | Float[Tensor, "heads query key"]
    | Float[Tensor, "batch heads query key"]
)


def attend(
    q: Float[Tensor, "batch heads query d_head"],
    k: Float[Tensor, "batch heads key d_head"],
    v: Float[Tensor, "batch heads key d_head"],
    mask: Mask | None,
    dropout: float,
    kernel: Kernel | None = None,
    causal: bool = True,
) -> Float[Tensor, "batch heads query d_head"]:
    """The attention of every query over the keys.

    `mask` is True where a query may look at a key, or holds scores to add. Without a mask, the plain causal rule holds
    if there are as many queries as keys. A single query may look at all keys, because it stands at the end of them. If
    `causal` is False, every query may look at every key that the mask does not hide. Otherwise the queries are the last
    positions of the keys, and the mask must hide what comes after a query. If `kernel` is None, the faster
    one is taken. The math kernel has no dropout, so with dropout the fused one is taken.
    """
    assert mask is not None or not causal or q.shape[2] in (1, k.shape[2]), (
        "queries that follow earlier keys need a mask"
    )
    if kernel is None:
        half = q.dtype in (torch.bfloat16, torch.float16)
        kernel = faster_kernel(q.device, half, k.shape[2], dropout) if k.shape[2] > 1 else "fused"
    if kernel == "math" and dropout == 0:
        y: Tensor = _MathKernel.apply(q, k, v, _as_bias(mask, q, k, causal), causal)  # type: ignore[no-untyped-call]
        return y
    if mask is not None and mask.is_floating_point():
        mask = mask.to(q.dtype)
    causal = causal and mask is None and q.shape[2] > 1
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal)


def attention_weights(
    q: Float[Tensor, "batch heads query d_head"],
    k: Float[Tensor, "batch heads key d_head"],
    mask: Mask | None,
    causal: bool = True,
) -> Float[Tensor, "batch heads query key"]:
    """The weight of each key for each query: softmax(q k^T / sqrt(d_head) + mask). Each row sums to 1.

    `mask` and `causal` are those of `attend`, which sums up the values with these weights.
    """
    scores = torch.baddbmm(
        _as_bias(mask, q, k, causal), q.flatten(0, 1), k.flatten(0, 1).mT, alpha=1 / math.sqrt(q.shape[-1])
    )
    return scores.softmax(-1).view(*q.shape[:2], *scores.shape[1:])


def faster_kernel(device: torch.device, half: bool, context_length: int, dropout: float) -> Kernel:
    """The faster kernel for a context of this length, in half precision or not."""
    return "math" if device.type == "cpu" and half and dropout == 0 and context_length <= _SHORT else "fused"


def _as_bias(mask: Mask | None, q: Tensor, k: Tensor, causal: bool = True) -> Tensor:
    """The mask as scores to add, of shape (query, key) or (batch * heads, query, key)."""
    if mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
        mask = mask.tril(k.shape[2] - q.shape[2]) if causal else mask
    if mask.is_floating_point():
        bias = mask.to(q.dtype)
    else:
        bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, float("-inf"))
    return bias if bias.ndim == 2 else bias.expand(*q.shape[:2], -1, -1).flatten(0, 1)


class _MathKernel(torch.autograd.Function):
    """Attention that keeps its probabilities for the backward pass.

    With s = q k^T / sqrt(d) + bias, p = softmax(s), y = p v, and dy given, the gradients are: dv = p^T dy, dp = dy v^T,
    ds = p * (dp - sum(p * dp)), dq = ds k / sqrt(d), dk = ds^T q / sqrt(d).

    If no query sees keys after it (`causal`), a few queries at a time are computed, with the keys that stand up to the
    last of them: a third less work, in arrays that fit into the processor's caches.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, causal: bool) -> Tensor:
        ctx.shape, ctx.scale = q.shape, 1 / math.sqrt(q.shape[-1])
        ctx.spans = _spans(q.shape[2], k.shape[2], causal)
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        ps, ys = [], []
        with torch.autocast(q.device.type, enabled=False):  # autocast would convert to float32 and back
            for queries, keys in ctx.spans:
                scores = torch.baddbmm(bias[..., queries, keys], q[:, queries], k[:, keys].mT, alpha=ctx.scale)
                ps.append(torch.softmax(scores, -1))
                ys.append(torch.bmm(ps[-1], v[:, keys]))
        ctx.save_for_backward(q, k, v, *ps)
        return torch.cat(ys, 1).view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, *ps = ctx.saved_tensors
        dy = grad_outputs[0].flatten(0, 1)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for (queries, keys), p in zip(ctx.spans, ps, strict=True):
            dp = torch.bmm(dy[:, queries], v[:, keys].mT)
            ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
            dq[:, queries] = torch.bmm(ds, k[:, keys])
            dk[:, keys].baddbmm_(ds.mT, q[:, queries])
            dv[:, keys].baddbmm_(p.mT, dy[:, queries])
        shape = (*ctx.shape[:2], *k.shape[1:])
        return dq.mul_(ctx.scale).view(ctx.shape), dk.mul_(ctx.scale).view(shape), dv.view(shape), None, None


def _spans(n_queries: int, n_keys: int, causal: bool) -> list[tuple[slice, slice]]:
    """Queries that are computed together, and the keys that they may see."""
    if not causal:
        return [(slice(n_queries), slice(n_keys))]
    starts, before = range(0, n_queries, _QUERIES), n_keys - n_queries
    return [(slice(start, start + _QUERIES), slice(min(n_keys, before + start + _QUERIES))) for start in starts]
