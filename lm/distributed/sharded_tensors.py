"""Tensors of which each process holds a part (`lm.distributed.parallel`), and the whole of them.

Plain tensors pass through.
"""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor, put together from its shares: a call for all processes at once."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def laid_out_like(model: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor, as it lies where another does: on its device, this process's share of it."""
    whole = whole.to(model.device)
    return distribute_tensor(whole, model.device_mesh, model.placements) if isinstance(model, DTensor) else whole
