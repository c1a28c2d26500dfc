"""The position-wise feed-forward layer."""

import numpy as np
from jaxtyping import Float

from lm.config.model import ModelConfig
from lm.reference.activations import GELU, SiLU, SquaredReLU, TanhGELU
from lm.reference.linear import Linear
from lm.reference.parameter import Parameters

_ACTIVATIONS: dict[str, type[SiLU | GELU | TanhGELU | SquaredReLU]] = {
    "swiglu": SiLU,
    "silu": SiLU,
    "gelu": GELU,
    "gelu_tanh": TanhGELU,
    "relu2": SquaredReLU,
}


class FeedForward:
    """down(a(up(x))), or SwiGLU: down(u a) with a = silu(gate(x)), u = up(x) (Shazeer 2020, eq. 6).

    By the product rule SwiGLU's gradients are du = dh a and da = dh u. https://arxiv.org/abs/2002.05202
    """

    def __init__(self, config: ModelConfig, parameters: Parameters, name: str) -> None:
        self.activation = _ACTIVATIONS[config.feed_forward]()
        self.up = Linear(parameters, f"{name}.up")
        self.gate = Linear(parameters, f"{name}.gate") if config.feed_forward == "swiglu" else None
        self.down = Linear(parameters, f"{name}.down")

    def forward(self, x: Float[np.ndarray, "*batch d_model"]) -> Float[np.ndarray, "*batch d_model"]:
        """The layer's output, without the residual."""
        if self.gate is None:
            return self.down.forward(self.activation.forward(self.up.forward(x)))
        self._u, self._a = self.up.forward(x), self.activation.forward(self.gate.forward(x))
        return self.down.forward(self._u * self._a)

    def backward(self, dy: Float[np.ndarray, "*batch d_model"]) -> Float[np.ndarray, "*batch d_model"]:
        """The gradient of x."""
        dh = self.down.backward(dy)
        if self.gate is None:
            return self.up.backward(self.activation.backward(dh))
        dx = self.up.backward(dh * self._a)
        dx += self.gate.backward(self.activation.backward(dh * self._u))
        return dx
