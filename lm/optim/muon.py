"""Muon: momentum whose matrices are made orthogonal (Jordan 2024, https://kellerjordan.github.io/posts/muon/)."""

from collections import defaultdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lm.distributed.sharded_tensors import gathered, laid_out_like
from lm.optim.optimizers import AdamW, ParameterGroups

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steepest at 0, so that small singular values grow fastest
N_ITERATIONS = 5


class Muon(AdamW):
    """Muon for groups with `orthogonal: True`, AdamW for the others.

    A matrix W (rows, columns) moves against the orthogonalised Nesterov momentum of its gradient G:

        M = momentum * M + (1 - momentum) * G;  U = orthogonalised(momentum * M + (1 - momentum) * G)
        W = (1 - lr * weight_decay) * W - lr * 0.2 * sqrt(max(rows, columns)) * U

    The factor gives U the size that AdamW's updates tend to have, so one learning rate serves both (Liu et al. 2025,
    section 2.2, https://arxiv.org/abs/2502.16982). Equal to `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`
    where `dtype` is bfloat16.
    """

    def __init__(
        self,
        params: ParameterGroups,
        lr: float,
        momentum: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        self._momentum, self._dtype = momentum, dtype

    def _update(self, group: dict[str, Any]) -> None:
        if not group["orthogonal"]:
            super()._update(group)
            return
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                by_shape[p.shape].append(p)
        for shape, matrices in by_shape.items():
            # All matrices of a shape at once: few large products instead of many small ones.
            updates = orthogonalised(torch.stack([gathered(self._direction(p)) for p in matrices]), self._dtype)
            size = 0.2 * max(shape) ** 0.5
            for p, update in zip(matrices, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(laid_out_like(p, update), alpha=-group["lr"] * size)

    def _direction(self, p: Tensor) -> Tensor:
        """Nesterov momentum, Sutskever et al. 2013, as running means."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum: Tensor = state["momentum"].lerp_(p.grad, 1 - self._momentum)
        return p.grad.lerp(momentum, self._momentum)


def orthogonalised(
    matrices: Float[Tensor, "batch rows columns"], dtype: torch.dtype
) -> Float[Tensor, "batch rows columns"]:
    """About U V^T for each matrix U S V^T: singular values between 0.68 and 1.21, except those near 0.

    Five rounds of Newton and Schulz's iteration X = a X + b (X X^T) X + c (X X^T)^2 X, an odd polynomial of every
    singular value, computed in `dtype` (docs/theory/optimizers.md).
    """
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:  # the smaller of X X^T and X^T X
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # no singular value above 1
    for _ in range(N_ITERATIONS):
        gram = x @ x.mT
        # The products add the terms themselves: fewer roundings in bfloat16, which halves the error.
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
