"""The training loss: cross-entropy in nats."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.model.upcast import upcast


class _CrossEntropy(torch.autograd.Function):
    """loss_i = logsumexp(z_i) - z_i[target_i], with gradient softmax(z_i) - onehot(target_i) by hand.

    Autograd through `logsumexp` and `gather` gives the same, in three more passes over the logits: the largest
    array of the whole step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        log_total = torch.logsumexp(upcast(logits), dim=-1)
        ctx.save_for_backward(logits, targets, log_total)
        return log_total - logits.gather(-1, targets[:, None]).squeeze(-1).to(log_total.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad_loss,) = grad_outputs
        logits, targets, log_total = ctx.saved_tensors
        grad = torch.sub(
            upcast(logits), log_total[:, None]
        ).exp_()  # softmax; mixed dtypes would be several times slower
        grad.scatter_add_(-1, targets[:, None], torch.full_like(log_total, -1.0)[:, None])
        return grad.mul_(grad_loss[:, None]).to(logits.dtype), None


def cross_entropy(logits: Float[Tensor, "*batch vocab"], targets: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """-log softmax(logits)[target] of every token, in nats and float32 or better, stable for any size."""
    loss: Tensor = _CrossEntropy.apply(logits.flatten(0, -2), targets.flatten())  # type: ignore[no-untyped-call]
    return loss.view(targets.shape)
