"""The precision of what must not be computed in half: norms, rotations, losses."""

import torch
from torch import Tensor


def upcast(x: Tensor) -> Tensor:
    """x in float32, or in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()
