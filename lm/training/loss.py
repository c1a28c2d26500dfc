"""The training loss: cross-entropy in nats."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.model.upcast import upcast


def chunk_bytes(device: torch.device) -> int:
    """Bytes of logits, counted in float32, at a time: few enough to save memory, enough to keep the machine busy."""
    if device.type == "cpu":
        return 2**25
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return max(2**28, min(2**31, memory // 32))


def n_columns(vocab_size: int, device: torch.device) -> int:
    """The columns of logits that are computed: those of the vocabulary, and some more where this is faster.

    A GPU multiplies matrices several times faster if their rows begin at multiples of 16 bytes.
    """
    return vocab_size if device.type != "cuda" or vocab_size % 8 == 0 else math.ceil(vocab_size / 64) * 64


def cross_entropy(logits: Float[Tensor, "*batch vocab"], targets: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """-log softmax(logits)[target] of every token, in nats and float32 or better, stable for logits of any size."""
    exact = upcast(logits)
    return torch.logsumexp(exact, dim=-1) - exact.gather(-1, targets[..., None]).squeeze(-1)


def linear_cross_entropy(
    hidden: Float[Tensor, "*batch d_model"],
    head: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, "*batch"],
    weights: Float[Tensor, "*batch"],
    dtype: torch.dtype | None = None,
    n_bytes: int = 2**25,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The cross-entropy of the logits `hidden @ head.T` and the number of right predictions, both as weighted sums.

    The logits are the largest array of a training step, so only a chunk of rows exists at a time. Loss and gradient are
    computed from each chunk, and then it is freed (as in Wijmans et al. 2024, https://arxiv.org/abs/2411.09009).
    `dtype` is the type of the matrix products; None means the type of the tensors. Everything else is in float32 or
    better. `n_bytes` is the size of a chunk (`chunk_bytes`).

    There may be more columns of logits than tokens (`n_columns`). They have the probability 0. On a CPU, logits of
    tokens without weight are not computed: when a chat model learns, these are half of all.
    """
    hidden, targets, weights = hidden.flatten(0, -2), targets.flatten(), weights.flatten()
    if weights.device.type == "cpu" and not torch.compiler.is_compiling():  # elsewhere it would wait for the sizes
        counted = weights.nonzero().squeeze(-1)
        if len(counted) < len(weights):
            hidden, targets, weights = hidden[counted], targets[counted], weights[counted]
    sums: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden,
        head,
        targets,
        weights,
        dtype or hidden.dtype,
        n_bytes,
        torch.is_grad_enabled(),
    )
    return sums


class _LinearCrossEntropy(torch.autograd.Function):
    """The loss sum_n weight_n loss_n. The forward pass computes its gradient too.

    With dz_n = softmax(z_n) - onehot(target_n): dh_n = weight_n (dz W)_n and dW = dz^T (weight h). The weights multiply
    the smaller arrays, not dz. The loss is a scalar, so `backward` only multiplies this gradient by the factor that it
    is given.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
        n_bytes: int,
        wants_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        h, w = hidden.to(dtype), head.to(dtype)
        vocab_size = len(w)
        if surplus := n_columns(vocab_size, w.device) - vocab_size:
            w = F.pad(w, (0, 0, 0, surplus))
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        loss = torch.zeros((), dtype=exact, device=h.device)
        right = torch.zeros((), dtype=exact, device=h.device)
        grad_hidden = torch.empty_like(h) if wants_grad else None
        grad_head = torch.zeros_like(w, dtype=exact) if wants_grad else None
        with torch.autocast(h.device.type, enabled=False):
            for rows in _chunks(len(h), max(1, n_bytes // (4 * len(w)))):
                target, weight = targets[rows, None], weights[rows, None].to(exact)
                z = upcast(h[rows] @ w.T)
                if surplus:
                    z[:, vocab_size:] = -math.inf
                log_total, p, is_first = _softmax(z, target)
                # New tensors, not in-place sums: Dynamo of torch 2.11 loses the gradient of an output changed in place.
                loss = loss + ((log_total - z.gather(-1, target)) * weight).sum()
                right = right + (is_first * weight).sum()
                if grad_hidden is None or grad_head is None:
                    continue
                dz = _minus_one_hot(p, target).to(dtype)
                grad_hidden[rows] = ((dz @ w) * weight).to(dtype)
                grad_head += _summed_product(dz.T, (h[rows] * weight).to(dtype))
        ctx.save_for_backward(grad_hidden, None if grad_head is None else grad_head[:vocab_size])
        ctx.dtypes = hidden.dtype, head.dtype
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None]:
        grad_loss, (grad_hidden, grad_head), dtypes = grad_outputs[0], ctx.saved_tensors, ctx.dtypes
        return (
            (grad_hidden * grad_loss).to(dtypes[0]),
            (grad_head * grad_loss).to(dtypes[1]),
            None,
            None,
            None,
            None,
            None,
        )


def _summed_product(a: Float[Tensor, "n rows"], b: Float[Tensor, "rows m"]) -> Float[Tensor, "n m"]:
    """a @ b, which sums up many rows. Such a sum may be beyond float16, so it is then in float32, as its terms are."""
    if a.dtype != torch.float16:  # bfloat16 has the range of float32
        return a @ b
    return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda else a.float() @ b.float()


def _softmax(z: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(sum(exp(z))) of each row, (rows, 1), softmax(z), and whether the target is the first of the largest z."""
    if torch.compiler.is_compiling():  # in this form the compiler makes one kernel that reads z once, and one for p
        largest = z.amax(-1, keepdim=True)
        log_total = largest + (z - largest).exp().sum(-1, keepdim=True).log()
        own, column, place = z.gather(-1, target), torch.arange(z.shape[-1], device=z.device).int(), target.int()
        beaten = ((z > own) | ((z == own) & (column < place))).any(-1, keepdim=True)
        return log_total, (z - log_total).exp(), ~beaten
    # PyTorch's kernel makes one pass where single operations make five. The probability of `top` is the largest, at
    # least one part of the vocabulary. So its logarithm loses nothing.
    top, p = z.argmax(-1, keepdim=True), torch.softmax(z, dim=-1)
    return z.gather(-1, top) - p.gather(-1, top).log(), p, top == target


def _minus_one_hot(p: Tensor, target: Tensor) -> Tensor:
    """p with 1 subtracted at the target of each row: (rows, vocab) and (rows, 1)."""
    if torch.compiler.is_compiling():  # one more operation of a fused kernel, where a scatter would be several kernels
        return torch.where(torch.arange(p.shape[-1], device=p.device).int() == target.int(), p - 1, p)
    return p.scatter_(-1, target, p.gather(-1, target) - 1)  # not scatter_add_: not deterministic on a GPU


def _chunks(n_rows: int, size: int) -> Iterator[slice]:
    """Slices of equal size; the last may be smaller."""
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))
