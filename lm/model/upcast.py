"""Higher precision for norms, rotations and losses, which must not be computed in half precision."""

import torch
from torch import Tensor


def upcast(x: Tensor) -> Tensor:
    """x in float32, or unchanged if it is in float64."""
    return x if x.dtype == torch.float64 else x.float()
