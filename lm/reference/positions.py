"""How the model knows the order of its tokens: rotary, sinusoidal and ALiBi positions, and who may look at whom.

Learned positions are a plain table and live in the Transformer itself.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import DTypeLike

from lm.config.model import ModelConfig
from lm.reference.parameter import Array

Table = Float[np.ndarray, "2 seq half"] | Float[np.ndarray, "2 batch seq half"]


def rotary_table(context_length: int, d_head: int, theta: float) -> Float[np.ndarray, "2 context half"]:
    """cos and sin of position * theta^(-2i / d_head), for the pairs i < d_head / 2 (Su et al. 2021, eq. 15).

    https://arxiv.org/abs/2104.09864. In float32, as the model in PyTorch has it, so that the two are one function.
    """
    frequency = theta ** (-np.arange(0, d_head, 2) / d_head)
    angle = np.arange(context_length)[:, None] * frequency
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(x: Float[np.ndarray, "batch seq heads d_head"], table: Table) -> Float[np.ndarray, "batch seq heads d_head"]:
    """x with each pair (a, b) = (x_i, x_{i + d_head/2}) turned by its position's angle.

    The table holds the angles of these positions: `rotary_table(...)[:, :seq]` of the first ones, or of others
    `rotary_table(...)[:, positions]`, with positions (seq,) or (batch, seq).

    (a cos - b sin, b cos + a sin) = (a, b) cos + (b, a) (-sin, sin), in whole rows, which NumPy is quicker with.
    """
    cos, sin = table[..., None, :]
    swapped = np.roll(x, x.shape[-1] // 2, axis=-1)
    swapped *= np.concatenate([-sin, sin], axis=-1)
    y = x * np.concatenate([cos, cos], axis=-1)
    y += swapped
    return y


def rotate_back(
    dy: Float[np.ndarray, "batch seq heads d_head"], table: Table
) -> Float[np.ndarray, "batch seq heads d_head"]:
    """The gradient of `rotate`: a turn is an orthogonal map, so its transpose is the same turn backwards."""
    return rotate(dy, np.stack([table[0], -table[1]]))


def sinusoidal_table(context_length: int, d_model: int) -> Float[np.ndarray, "context d_model"]:
    """sin in the even and cos in the odd columns (Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762)."""
    cos, sin = rotary_table(context_length, d_model, theta=10_000.0)
    return np.stack([sin, cos], axis=-1).reshape(context_length, d_model)


def alibi_slopes(n_heads: int) -> Float[np.ndarray, " heads"]:
    """The slope of each head's linear bias: 2^(-8 (h + 1) / n_heads) (Press et al. 2021, section 3).

    https://arxiv.org/abs/2108.12409, who use the geometric sequence for powers of two; it is kept for every number of
    heads here.
    """
    return (2.0 ** (-8.0 * np.arange(1, n_heads + 1) / n_heads)).astype(np.float32)


class Positions:
    """The constants of one configuration, made once and shared by its layers."""

    def __init__(self, config: ModelConfig, dtype: DTypeLike) -> None:
        self._config, self._dtype = config, dtype
        self._bias: tuple[tuple[int, int], Array] | None = None
        self.rotary: Array | None = None
        self.sinusoidal: Array | None = None
        if config.positions == "rope":
            self.rotary = rotary_table(config.context_length, config.d_head, config.rope_theta).astype(dtype)
        if config.positions == "sinusoidal":
            self.sinusoidal = sinusoidal_table(config.context_length, config.d_model).astype(dtype)

    def bias(
        self, start: int, seq: int, positions: Int[np.ndarray, "batch seq"] | None = None
    ) -> Float[np.ndarray, "_ _ _ query key"] | None:
        """What is added to the scores of `seq` queries from position `start` on; None where it would be nothing.

        -infinity for keys that lie ahead, or farther back than the window; with ALiBi, minus the slope times how many
        tokens back the key lies. Where positions are given, windows and ALiBi go by their distance. The first three
        axes, (batch, n_kv_heads, group), are 1 where all have the same.
        """
        config = self._config
        if positions is not None:
            distance = np.abs(positions[:, :, None] - positions[:, None, :])
            return self._bias_of(distance, np.tri(seq, dtype=bool))
        local = config.window is not None and config.window < start + seq
        if seq == 1 and not local and config.positions != "alibi":
            return None
        if self._bias is None or self._bias[0] != (start, seq):
            distance = np.arange(start, start + seq)[:, None] - np.arange(start + seq)
            self._bias = (start, seq), self._bias_of(distance[None], distance >= 0)
        return self._bias[1]

    def _bias_of(
        self, distance: Int[np.ndarray, "batch query key"], visible: Bool[np.ndarray, "query key"]
    ) -> Float[np.ndarray, "batch _ _ query key"]:
        config = self._config
        if config.window is not None:
            visible = visible & (distance < config.window)
        slopes = alibi_slopes(config.n_heads) if config.positions == "alibi" else np.zeros(1)
        bias = np.where(visible[..., None, :, :], -slopes[:, None, None] * distance[:, None], -np.inf)
        heads = (config.sizes.n_kv_heads, -1) if config.positions == "alibi" else (1, 1)
        return bias.reshape(len(bias), *heads, *bias.shape[2:]).astype(self._dtype)
