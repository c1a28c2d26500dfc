"""Conversions between whole tensors and tensors of which each process holds a part (`lm.distributed.parallel`).

Plain tensors stay whole. What PyTorch has for parts takes longer to import than a small model to train, so it is
imported only where there are parts.
"""

from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor, put together from the parts of all processes. All processes must call this together."""
    return tensor.full_tensor() if _is_part(tensor) else tensor


def laid_out_like(model: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor laid out like `model`: on its device, and only this process's part where `model` is split."""
    whole = whole.to(model.device)
    if not _is_part(model):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, model.device_mesh, model.placements)


def _is_part(tensor: Tensor) -> "TypeGuard[DTensor]":
    return hasattr(tensor, "placements")
