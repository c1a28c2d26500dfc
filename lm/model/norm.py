"""Normalisation layers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lm.config.model import ModelConfig
from lm.model.upcast import upcast


def rms_norm(
    x: Float[Tensor, "*batch width"], weight: Float[Tensor, " width"], eps: float
) -> Float[Tensor, "*batch width"]:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32 or better, in the dtype of x.

    Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
    """
    y = upcast(x)
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


class RMSNorm(nn.Module):
    """`rms_norm` with a weight that starts as ones."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised x, in the dtype of x."""
        return rms_norm(x, self.weight, self.eps)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""

    def __init__(self, width: int, bias: bool, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised x, computed in float32 or better, in the dtype of x."""
        y = upcast(x)
        y = y - y.mean(-1, keepdim=True)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * self.weight
        return (y if self.bias is None else y + self.bias).to(x.dtype)


def build_norm(config: ModelConfig) -> nn.Module:
    """The norm of the residual stream; `none` passes its input through."""
    match config.norm:
        case "rmsnorm":
            return RMSNorm(config.d_model, config.norm_eps)
        case "layernorm":
            return LayerNorm(config.d_model, config.bias, config.norm_eps)
        case "none":
            return nn.Identity()
