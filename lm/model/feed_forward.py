"""The position-wise feed-forward layer."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.config.model import ModelConfig

Kind = Literal["swiglu", "gelu", "gelu_tanh", "silu", "relu2"]


class FeedForward(nn.Module):
    """down(activation(up(x))), or SwiGLU: down(silu(gate(x)) * up(x)) (Shazeer 2020, https://arxiv.org/abs/2002.05202).

    `gelu_tanh` approximates GELU as GPT-2 does (Hendrycks & Gimpel 2016, section 2, https://arxiv.org/abs/1606.08415).
    `relu2` is the squared ReLU of Primer (So et al. 2021, https://arxiv.org/abs/2109.08668).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.feed_forward
        d_model, d_ff = config.d_model, config.sizes.d_ff
        self.up = nn.Linear(d_model, d_ff, bias=config.bias)
        self.gate = nn.Linear(d_model, d_ff, bias=config.bias) if self.kind == "swiglu" else None
        self.down = nn.Linear(d_ff, d_model, bias=config.bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The layer's output, without the residual."""
        gate = None if self.gate is None else self.gate(x)
        y: Tensor = self.down(activation(self.kind, self.up(x), gate))
        return y


def activation(kind: Kind, up: Float[Tensor, "*n d_ff"], gate: Float[Tensor, "*n d_ff"] | None) -> Tensor:
    """What the matrix `down` reads. SwiGLU alone has a gate."""
    match kind:
        case "swiglu":
            assert gate is not None
            return F.silu(gate) * up
        case "gelu":
            return F.gelu(up)
        case "gelu_tanh":
            return F.gelu(up, approximate="tanh")
        case "silu":
            return F.silu(up)
        case "relu2":
            return F.relu(up).square()
