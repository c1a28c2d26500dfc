"""Where new tokens stand: what all layers of a `lm.model.reader.Reader` need to know of it, computed once a step."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.config.model import ModelConfig
from lm.model.cache import whole_blocks
from lm.model.positions import alibi_bias, alibi_slopes, rotary_table


class Places(NamedTuple):
    """The places of some tokens of each text. The query heads of a group share their keys."""

    only: int | None  # the position of one token of one text, on a CPU
    rows: Int[Tensor, "batch 1"] | None  # for all other tokens
    positions: Int[Tensor, "batch seq"]
    turn: tuple[Float[Tensor, "batch seq 1 d_head"], Float[Tensor, "batch seq 1 d_head"]] | None
    bias: Float[Tensor, "#batch_kv_heads #group_seq total"]

    def rotate(self, heads: Float[Tensor, "batch seq heads d_head"]) -> None:
        """Turn the heads of queries and keys, where positions are rotary."""
        if self.turn is not None:
            cos, sin = self.turn  # in float32 or better, so the sums are too
            torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin, out=heads)

    def write(self, columns: Tensor, heads: Float[Tensor, "batch seq heads d_head"]) -> None:
        """Put the heads of keys and of values of a layer into the columns of its `LayerCache`."""
        if self.only is None:
            batch, seq, _, d_head = heads.shape
            columns[self.rows, self.positions] = heads.view(batch, seq, 2, -1, d_head)
        else:
            columns.copy_(heads.view_as(columns))


class PlaceTables:
    """Makes `Places` of tables that are computed once."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self._limit, self._n_heads, self._n_kv_heads = config.context_length, config.n_heads, config.sizes.n_kv_heads
        self._turns: tuple[Tensor, Tensor] | None = None
        if config.positions == "rope":
            exact = torch.promote_types(dtype, torch.float32)
            cos, sin = rotary_table(config.context_length, config.d_head, config.rope_theta).to(device, exact)
            # (a cos - b sin, b cos + a sin) = (a, b) cos + (b, a) (-sin, sin)
            self._turns = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        self._bias_line = _bias_line(config).to(device, dtype)

    def at(self, positions: Int[Tensor, "batch seq"], total: int) -> Places:
        """These positions, for attention over `total` columns of a cache."""
        if positions.device.type == "cpu" and positions.numel() == 1:
            return self._one(positions, total)
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        turn = None
        if self._turns is not None:
            cos, sin = self._turns
            turn = cos[positions].unsqueeze(2), sin[positions].unsqueeze(2)
        windows = self._bias_line.unfold(1, total, 1)
        bias = windows[:, self._limit - 1 - positions].transpose(0, 1)  # (batch, 1 or heads, seq, total)
        bias = bias.expand(-1, self._n_heads, -1, -1).reshape(len(positions) * self._n_kv_heads, -1, total)
        return Places(None, rows, positions, turn, bias)

    def _one(self, positions: Tensor, total: int) -> Places:
        """The same for one token of one text, without copies."""
        place, turn = int(positions), None
        if self._turns is not None:
            cos, sin = self._turns
            turn = cos[place].view(1, 1, 1, -1), sin[place].view(1, 1, 1, -1)
        bias = self._bias_line.narrow(1, self._limit - 1 - place, total)
        return Places(place, None, positions, turn, bias.view(min(len(bias), self._n_kv_heads), -1, total))


def _bias_line(config: ModelConfig) -> Float[Tensor, "heads places"]:
    """The biases of a query at the last position and of keys from position 0 on, beyond the query too.

    They are -inf for keys after the query, and for those that a window hides. The biases of a query at another
    position are a window of the line, because they depend on the distance alone. The heads are one unless they differ.
    """
    n = whole_blocks(config.context_length)
    distance = config.context_length - 1 - torch.arange(config.context_length - 1 + n)
    hidden = distance < 0 if config.window is None else (distance < 0) | (distance >= config.window)
    if config.positions == "alibi":
        bias = alibi_bias(alibi_slopes(config.n_heads).double(), distance[None])[:, 0]
    else:
        bias = torch.zeros(1, len(distance))
    return bias.masked_fill(hidden, -math.inf)
