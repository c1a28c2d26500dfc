"""How the model knows the order of its tokens: rotary, sinusoidal and ALiBi positions, and the mask of attention.

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

    https://arxiv.org/abs/2104.09864. In float32, as in the PyTorch model, so that both compute the same function.
    """
    frequency = theta ** (-np.arange(0, d_head, 2) / d_head)
    angle = np.arange(context_length)[:, None] * frequency
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(x: Float[np.ndarray, "batch seq heads d_head"], table: Table) -> Float[np.ndarray, "batch seq heads d_head"]:
    """x with each pair (a, b) = (x_i, x_{i + d_head/2}) turned by its position's angle.

    The table holds the angles of the positions of x: `rotary_table(...)[:, :seq]` for the first positions, or
    `rotary_table(...)[:, positions]` for others, with positions (seq,) or (batch, seq).

    (a cos - b sin, b cos + a sin) = (a, b) cos + (b, a) (-sin, sin). The right side works on whole rows, which is
    faster in NumPy.
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
    """The gradient of `rotate`. A rotation is an orthogonal map, so its transpose is the same rotation backwards."""
    return rotate(dy, np.stack([table[0], -table[1]]))


def sinusoidal_table(context_length: int, d_model: int) -> Float[np.ndarray, "context d_model"]:
    """sin in the even and cos in the odd columns (Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762)."""
    cos, sin = rotary_table(context_length, d_model, theta=10_000.0)
    return np.stack([sin, cos], axis=-1).reshape(context_length, d_model)


def alibi_slopes(n_heads: int) -> Float[np.ndarray, " heads"]:
    """The slope of each head's linear bias: 2^(-8 (h + 1) / n_heads) (Press et al. 2021, section 3).

    https://arxiv.org/abs/2108.12409. The paper uses this geometric sequence for powers of two. Here every number of
    heads uses it.
    """
    return (2.0 ** (-8.0 * np.arange(1, n_heads + 1) / n_heads)).astype(np.float32)


class Positions:
    """The constants of one configuration. They are made once, and all layers share them."""

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
        self, starts: Int[np.ndarray, " #batch"], seq: int, positions: Int[np.ndarray, "batch seq"] | None = None
    ) -> Float[np.ndarray, "_ _ _ query key"] | None:
        """The bias for the scores of `seq` queries of each text from its start on; None if it would be zero everywhere.

        It is -infinity for keys that come after the query, or that lie outside the window. With ALiBi, it is minus the
        slope times how many tokens back the key lies. If positions are given, windows and ALiBi use the distance
        between them. The first three axes are (batch, n_kv_heads, group). Size 1 means that all share one bias.
        """
        config = self._config
        if positions is not None:
            distance = np.abs(positions[:, :, None] - positions[:, None, :])
            return self._bias_of(distance, np.tri(seq, dtype=bool))
        start = int(starts[0])
        if (starts != start).any():
            places = starts[:, None] + np.arange(seq)
            distance = places[:, :, None] - np.arange(places.max() + 1)
            return self._bias_of(distance, distance >= 0)
        local = config.window is not None and config.window < start + seq
        if seq == 1 and not local and config.positions != "alibi":
            return None
        if self._bias is None or self._bias[0] != (start, seq):
            distance = np.arange(start, start + seq)[:, None] - np.arange(start + seq)
            self._bias = (start, seq), self._bias_of(distance[None], distance >= 0)
        return self._bias[1]

    def _bias_of(
        self, distance: Int[np.ndarray, "batch query key"], visible: Bool[np.ndarray, "*batch query key"]
    ) -> Float[np.ndarray, "batch _ _ query key"]:
        config = self._config
        if config.window is not None:
            visible = visible & (distance < config.window)
        slopes = alibi_slopes(config.n_heads) if config.positions == "alibi" else np.zeros(1)
        bias = np.where(visible[..., None, :, :], -slopes[:, None, None] * distance[:, None], -np.inf)
        heads = (config.sizes.n_kv_heads, -1) if config.positions == "alibi" else (1, 1)
        return bias.reshape(len(bias), *heads, *bias.shape[2:]).astype(self._dtype)
