"""Muon: momentum whose matrices are made orthogonal (Jordan 2024, https://kellerjordan.github.io/posts/muon/)."""

from collections.abc import Hashable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lm.distributed.sharded_tensors import gathered, laid_out_like
from lm.optim.optimizers import AdamW, Pace, ParameterGroups, Slots, compiled_once

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steepest at 0, so that small singular values grow fastest
N_ITERATIONS = 5


class Muon(AdamW):
    """Muon for groups with `orthogonal: True`, AdamW for the others.

    A matrix W (rows, columns) moves against the orthogonalised Nesterov momentum of its gradient G:

        M = momentum * M + (1 - momentum) * G;  U = orthogonalised(momentum * M + (1 - momentum) * G)
        W = (1 - lr * weight_decay) * W - lr * 0.2 * sqrt(max(rows, columns)) * U

    If the group has `parts`, numbers of rows, each of these parts of W is a matrix of its own.

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
        self._turn = _turn

    def compile(self, compiled: bool = True) -> None:
        """Fuse the operations between the matrix products too, or no longer."""
        super().compile(compiled)
        self._turn = compiled_once(_turn) if compiled else _turn

    def _kind(self, group: dict[str, Any], p: Tensor) -> Hashable:
        """All matrices of a shape are updated together: few large products instead of many small ones."""
        return p.shape if group["orthogonal"] else super()._kind(group, p)

    def _pace(self, group: dict[str, Any], params: list[Tensor], slots: list[Slots]) -> Pace:
        if not group["orthogonal"]:
            return super()._pace(group, params, slots)
        for p, slot in zip(params, slots, strict=True):
            if not slot:
                slot["momentum"] = torch.zeros_like(p)
        return Pace(1 - group["lr"] * group["weight_decay"], -group["lr"])

    def _apply(
        self, group: dict[str, Any], params: list[Tensor], slots: list[Slots], grads: list[Tensor], pace: Pace
    ) -> None:
        if not group["orthogonal"]:
            super()._apply(group, params, slots, grads, pace)
            return
        momenta = [slot["momentum"] for slot in slots]
        parts = group.get("parts") or (params[0].shape[0],)
        self._turn(params, grads, momenta, parts, self._momentum, self._dtype, pace.shrink, pace.step_size)


def _turn(
    params: list[Tensor],
    grads: list[Tensor],
    momenta: list[Tensor],
    parts: tuple[int, ...],
    momentum: float,
    dtype: torch.dtype,
    shrink: float | Tensor,
    step_size: float | Tensor,
) -> None:
    """W = shrink * W + step_size * U for matrices of one shape, after the momenta have taken the gradients in."""
    torch._foreach_lerp_(momenta, grads, 1 - momentum)
    directions = torch._foreach_lerp(grads, momenta, momentum)  # Nesterov momentum, Sutskever et al. 2013, as means
    updates = steps(torch.stack([gathered(direction) for direction in directions]), parts, dtype) * step_size
    torch._foreach_mul_(params, shrink)
    torch._foreach_add_(params, [laid_out_like(p, update) for p, update in zip(params, updates, strict=True)])


def steps(
    matrices: Float[Tensor, "batch rows columns"], parts: tuple[int, ...], dtype: torch.dtype
) -> Float[Tensor, "batch rows columns"]:
    """0.2 sqrt(max(rows, columns)) U for each part, where the parts of each matrix have so many rows."""
    pieces = list(torch.split(matrices, list(parts), dim=1))
    for n_rows in set(parts):  # all pieces of a shape at once
        places = [place for place, n in enumerate(parts) if n == n_rows]
        directions = orthogonalised(torch.cat([pieces[place] for place in places]), dtype)
        size = 0.2 * max(n_rows, matrices.shape[2]) ** 0.5
        for place, piece in zip(places, (directions * size).chunk(len(places)), strict=True):
            pieces[place] = piece
    return torch.cat(pieces, dim=1)


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
