"""The training loss: cross-entropy in nats."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.model.upcast import upcast

# Bytes of logits in float32 at a time: few enough to save memory, enough to keep the machine busy.
_CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**28}


def cross_entropy(logits: Float[Tensor, "*batch vocab"], targets: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """-log softmax(logits)[target] of every token, in nats and float32 or better, stable for any size."""
    exact = upcast(logits)
    return torch.logsumexp(exact, dim=-1) - exact.gather(-1, targets[..., None]).squeeze(-1)


def linear_cross_entropy(
    hidden: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, "*batch"],
    dtype: torch.dtype | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The mean cross-entropy of the logits `hidden @ weight.T`, and the share of targets that are their maximum.

    The logits, the largest array of a training step, exist a chunk of rows at a time: it becomes loss and gradient, and
    is forgotten (as in Wijmans et al. 2024, https://arxiv.org/abs/2411.09009). `dtype` is that of
    the matrix products, the tensors' own where there is none; all else is in float32 or better.
    """
    loss, n_right = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, -2), weight, targets.flatten(), dtype or hidden.dtype, torch.is_grad_enabled()
    )
    return loss / targets.numel(), n_right / targets.numel()


class _LinearCrossEntropy(torch.autograd.Function):
    """The summed loss, with its gradient found on the way: dz = softmax(z) - onehot(target), dh = dz W, dW = dz^T h.

    The loss is a scalar, so that is its gradient up to a factor, which `backward` is given and puts in.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, wants_grad: bool
    ) -> tuple[Tensor, Tensor]:
        h, w = hidden.to(dtype), weight.to(dtype)
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        loss = torch.zeros((), dtype=exact, device=h.device)
        n_right = torch.zeros((), dtype=torch.int64, device=h.device)
        grad_hidden = torch.empty_like(h) if wants_grad else None
        grad_weight = torch.zeros_like(weight, dtype=exact) if wants_grad else None
        with torch.autocast(h.device.type, enabled=False):
            for rows in _chunks(len(h), 4 * len(w), h.device.type):
                target = targets[rows, None]
                z = upcast(h[rows] @ w.T)
                log_total = torch.logsumexp(z, dim=-1, keepdim=True)
                loss += (log_total - z.gather(-1, target)).sum()
                n_right += (z.argmax(-1, keepdim=True) == target).sum()
                if grad_hidden is None or grad_weight is None:
                    continue
                dz = z.sub_(log_total).exp_()
                # Not scatter_add_, which is not deterministic on a GPU.
                dz = dz.scatter_(-1, target, dz.gather(-1, target) - 1).to(dtype)
                grad_hidden[rows] = dz @ w
                grad_weight += dz.T @ h[rows]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        ctx.mark_non_differentiable(n_right)
        return loss, n_right

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_loss, (grad_hidden, grad_weight), dtypes = grad_outputs[0], ctx.saved_tensors, ctx.dtypes
        return (grad_hidden * grad_loss).to(dtypes[0]), (grad_weight * grad_loss).to(dtypes[1]), None, None, None


def _chunks(n_rows: int, bytes_a_row: int, device: str) -> Iterator[slice]:
    """Slices of equal size, but for the last, whose logits take a chunk's bytes at most."""
    size = max(1, _CHUNK_BYTES.get(device, 2**28) // bytes_a_row)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))
