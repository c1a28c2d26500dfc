"""Normalisation layers. In both, n is the normalised input and r is the factor that normalises it.

Derivations: docs/theory/layers.md, "Norms".
"""

import numpy as np
from jaxtyping import Float

from lm.config.model import ModelConfig
from lm.reference.parameter import Parameters, sum_of_rows


def rms_norm(
    x: Float[np.ndarray, "*batch width"], weight: Float[np.ndarray, " width"], eps: float
) -> Float[np.ndarray, "*batch width"]:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019, eq. 4)."""
    return x * _inverse_rms(x, eps) * weight


class RMSNorm:
    """y = n w with n = x r, r = 1 / sqrt(mean(x^2) + eps), over the last axis (Zhang & Sennrich 2019, eq. 4).

    With dn = dy w: dx = r (dn - n mean(dn n)), dw = sum(dy n). https://arxiv.org/abs/1910.07467
    """

    def __init__(self, parameters: Parameters, name: str, eps: float) -> None:
        self.weight = parameters[f"{name}.weight"]
        self.eps = eps

    def forward(self, x: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """The normalised x."""
        self._r = _inverse_rms(x, self.eps)
        self._n = x * self._r
        return self._n * self.weight.value

    def backward(self, dy: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """The gradient of x."""
        n = self._n
        self.weight.add_grad(sum_of_rows(dy * n))
        dx = dy * self.weight.value
        dx -= n * _mean_of_product(dx, n)
        dx *= self._r
        return dx


class LayerNorm:
    """y = n w + b with n = (x - mean(x)) r, r = 1 / sqrt(var(x) + eps), over the last axis (Ba et al. 2016, eq. 4).

    With dn = dy w: dx = r (dn - mean(dn) - n mean(dn n)), dw = sum(dy n), db = sum(dy).
    https://arxiv.org/abs/1607.06450
    """

    def __init__(self, parameters: Parameters, name: str, eps: float) -> None:
        self.weight = parameters[f"{name}.weight"]
        self.bias = parameters.get(f"{name}.bias")
        self.eps = eps

    def forward(self, x: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """The normalised x."""
        n = x - x.mean(-1, keepdims=True)
        self._r = 1 / np.sqrt(_mean_of_product(n, n) + self.eps)
        n *= self._r
        self._n = n
        y = n * self.weight.value
        return y if self.bias is None else y + self.bias.value

    def backward(self, dy: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """The gradient of x."""
        n = self._n
        self.weight.add_grad(sum_of_rows(dy * n))
        if self.bias is not None:
            self.bias.add_grad(sum_of_rows(dy))
        dx = dy * self.weight.value
        means = dx.mean(-1, keepdims=True), _mean_of_product(dx, n)
        dx -= means[0]
        dx -= n * means[1]
        dx *= self._r
        return dx


class NoNorm:
    """y = x."""

    def forward(self, x: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """x itself."""
        return x

    def backward(self, dy: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
        """dy itself."""
        return dy


Norm = RMSNorm | LayerNorm | NoNorm


def build_norm(config: ModelConfig, parameters: Parameters, name: str) -> Norm:
    """The norm of the residual stream; `none` passes its input through."""
    match config.norm:
        case "rmsnorm":
            return RMSNorm(parameters, name, config.norm_eps)
        case "layernorm":
            return LayerNorm(parameters, name, config.norm_eps)
        case "none":
            return NoNorm()


def _inverse_rms(x: Float[np.ndarray, "*batch width"], eps: float) -> Float[np.ndarray, "*batch 1"]:
    return 1 / np.sqrt(_mean_of_product(x, x) + eps)


def _mean_of_product(
    a: Float[np.ndarray, "*batch width"], b: Float[np.ndarray, "*batch width"]
) -> Float[np.ndarray, "*batch 1"]:
    return np.vecdot(a, b)[..., None] / a.shape[-1]
