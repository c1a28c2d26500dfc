"""Conversions between whole tensors and tensors of which each process holds a part (`lm.distributed.parallel`).

Plain tensors stay whole.
"""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor, put together from the parts of all processes. All processes must call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def laid_out_like(model: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor laid out like `model`: on its device, and only this process's part where `model` is split."""
    whole = whole.to(model.device)
    return distribute_tensor(whole, model.device_mesh, model.placements) if isinstance(model, DTensor) else whole
