"""How a Transformer knows the order of its tokens: rotary, sinusoidal and ALiBi positions.

Learned positions are a plain embedding and live in the Transformer itself; `none` (NoPE) means no positions at all.
"""

from collections.abc import Callable
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lm.model.upcast import upcast


class PositionTable(nn.Module):
    """Constants that go to the model's device with it, but stay in float32 or better.

    `model.bfloat16()` rounds weights. Rounded to its 8 bits, neighbouring positions would share their sines.
    """

    values: Tensor

    def __init__(self, values: Float[Tensor, "*shape"]) -> None:
        super().__init__()
        self.register_buffer("values", values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = self.values
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # `to`, `half`, `cuda` and so on come here
        self.values = exact.to(self.values.device, torch.promote_types(self.values.dtype, torch.float32))
        return self


def rotary_table(context_length: int, d_head: int, theta: float) -> Float[Tensor, "2 context half"]:
    """cos and sin of position * theta^(-2i / d_head), for the pairs i < d_head / 2 (Su et al. 2021, eq. 15).

    https://arxiv.org/abs/2104.09864
    """
    frequency = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle = torch.arange(context_length, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()]).float()


def rotate(
    x: Float[Tensor, "batch heads seq d_head"], table: Float[Tensor, "2 seq half"] | Float[Tensor, "2 batch seq half"]
) -> Float[Tensor, "batch heads seq d_head"]:
    """x with each pair (x_i, x_{i + d_head/2}) turned by its position's angle, as Llama pairs them.

    The table holds the angles of the positions of x: `rotary_table(...)[:, :seq]` for the first positions, or
    `rotary_table(...)[:, positions]` for others, with positions (seq,) or (batch, seq).
    """
    cos, sin = table if table.ndim == 3 else table[:, :, None]
    a, b = upcast(x).chunk(2, dim=-1)
    turned = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
    # PyTorch's attention on a GPU gives its result the layout of the queries. So they get the layout that the linear
    # layer after it needs, (batch, seq, heads, d_head) in memory.
    return turned.transpose(1, 2).contiguous().transpose(1, 2) if x.is_cuda else turned


def sinusoidal_table(context_length: int, d_model: int) -> Float[Tensor, "context d_model"]:
    """sin in the even and cos in the odd columns (Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762)."""
    cos, sin = rotary_table(context_length, d_model, theta=10_000.0)
    return torch.stack([sin, cos], dim=-1).flatten(1)


def alibi_slopes(n_heads: int) -> Float[Tensor, " heads"]:
    """The slope of each head's linear bias: 2^(-8 (h + 1) / n_heads).

    Press et al. 2021, section 3, https://arxiv.org/abs/2108.12409. The paper uses this geometric sequence for powers of
    two. Here every number of heads uses it.
    """
    return (2.0 ** (-8.0 * torch.arange(1, n_heads + 1, dtype=torch.float64) / n_heads)).float()


def alibi_bias(
    slopes: Float[Tensor, " heads"], distance: Int[Tensor, "*batch query key"]
) -> Float[Tensor, "*batch heads query key"]:
    """The bias added to attention scores: minus the slope times how many tokens back the key lies."""
    return -slopes[:, None, None] * distance.unsqueeze(-3)
