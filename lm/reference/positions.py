"""How the model knows the order of its tokens: rotary, sinusoidal and ALiBi positions, and who may look at whom.

Learned positions are a plain table and live in the Transformer itself.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from lm.config.model import ModelConfig
from lm.reference.parameter import Array


def rotary_table(context_length: int, d_head: int, theta: float) -> Float[np.ndarray, "2 context half"]:
    """cos and sin of position * theta^(-2i / d_head), for the pairs i < d_head / 2 (Su et al. 2021, eq. 15).

    https://arxiv.org/abs/2104.09864. In float32, as the model in PyTorch has it, so that the two are one function.
    """
    frequency = theta ** (-np.arange(0, d_head, 2) / d_head)
    angle = np.arange(context_length)[:, None] * frequency
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(
    x: Float[np.ndarray, "batch seq heads d_head"], table: Float[np.ndarray, "2 seq half"]
) -> Float[np.ndarray, "batch seq heads d_head"]:
    """x with each pair (a, b) = (x_i, x_{i + d_head/2}) turned by its position's angle.

    (a cos - b sin, b cos + a sin) = (a, b) cos + (b, a) (-sin, sin), in whole rows, which NumPy is quicker with.
    """
    cos, sin = table[:, :, None]
    swapped = np.roll(x, x.shape[-1] // 2, axis=-1)
    swapped *= np.concatenate([-sin, sin], axis=-1)
    y = x * np.concatenate([cos, cos], axis=-1)
    y += swapped
    return y


def rotate_back(
    dy: Float[np.ndarray, "batch seq heads d_head"], table: Float[np.ndarray, "2 seq half"]
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

    def bias(self, start: int, seq: int) -> Float[np.ndarray, "_ _ query key"] | None:
        """What is added to the scores of `seq` queries from position `start` on; None where it would be nothing.

        -infinity for keys that lie ahead, or farther back than the window; with ALiBi, minus the slope times how many
        tokens back the key lies. The two axes of heads, (n_kv_heads, group), are 1 where all heads have the same.
        """
        config = self._config
        local = config.window is not None and config.window < start + seq
        if seq == 1 and not local and config.positions != "alibi":
            return None
        if self._bias is None or self._bias[0] != (start, seq):
            distance = np.arange(start, start + seq)[:, None] - np.arange(start + seq)
            visible = distance >= 0
            if config.window is not None:
                visible &= distance < config.window
            slopes = alibi_slopes(config.n_heads) if config.positions == "alibi" else np.zeros(1)
            bias = np.where(visible, -slopes[:, None, None] * distance, -np.inf)
            heads = (config.sizes.n_kv_heads, -1) if config.positions == "alibi" else (1, 1)
            self._bias = (start, seq), bias.reshape(*heads, seq, start + seq).astype(self._dtype)
        return self._bias[1]
