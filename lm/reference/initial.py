"""The weights that a model starts from: those of `lm.model.transformer`, drawn without PyTorch.

PyTorch's generator on the CPU is the Mersenne Twister MT19937, which NumPy has too. PyTorch and NumPy make normal
numbers from it by different methods. PyTorch uses the method of Box and Muller (1958) on blocks of sixteen, and so does
this file. So one seed gives both backends the same start. They agree to a millionth of the deviation, because PyTorch
rounds logarithms and cosines a little differently.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.formats.parameters import parameter_table


def initial_weights(config: ModelConfig, vocab_size: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights of a fresh model by name, in float32, as `lm.formats.parameters` says."""
    generator = NormalGenerator(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, spec in parameter_table(config, vocab_size).items():
        if spec.start is not None:
            weights[name] = np.full(spec.shape, spec.start, np.float32)
        else:
            normal = generator.draw(math.prod(spec.shape))
            weights[name] = (normal * np.float32(spec.deviation)).reshape(spec.shape)
        if spec.first_column is not None:
            weights[name][:, 0] = spec.first_column
    return weights


class NormalGenerator:
    """The stream of standard normal numbers that `torch.Generator().manual_seed(seed)` gives."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        # NumPy's old interface and PyTorch both use the seeding of Matsumoto and Nishimura.
        state: Any = np.random.RandomState(seed).get_state(legacy=False)  # NumPy types it as a plain dictionary
        self._bits.state = state
        self._spare: float | None = None

    def draw(self, count: int) -> Float32[np.ndarray, " count"]:
        """The next `count` numbers."""
        if count < 16:
            return np.array([self._draw_one() for _ in range(count)], dtype=np.float32)
        u = self._uniforms(count)
        x = np.empty(count, np.float32)
        whole = count // 16 * 16
        x[:whole] = _box_muller(u[:whole])
        if whole < count:  # then the last sixteen are drawn a second time, from new bits
            x[-16:] = _box_muller(self._uniforms(16))
        return x

    def _uniforms(self, count: int) -> Float32[np.ndarray, " count"]:
        """Numbers from 0 to below 1. Each is made of the 24 low bits of a word."""
        return (self._bits.random_raw(count) & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)

    def _draw_one(self) -> float:
        """A number of a draw of fewer than 16, in float64. They come in pairs; the second waits for the next call."""
        if self._spare is not None:
            x, self._spare = self._spare, None
            return x
        u1, u2 = self._uniform_of_two_words(), self._uniform_of_two_words()
        radius, angle = math.sqrt(-2 * math.log1p(-u2)), 2 * math.pi * u1
        self._spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def _uniform_of_two_words(self) -> float:
        high, low = (int(word) for word in self._bits.random_raw(2))
        return float(((high << 32 | low) & (2**53 - 1)) * 2.0**-53)


def _box_muller(u: Float32[np.ndarray, " count"]) -> Float32[np.ndarray, " count"]:
    """Normal numbers from uniform ones. Of each sixteen, the first eight give the radii and the others the angles."""
    first, second = u.reshape(-1, 2, 8).swapaxes(0, 1)
    radius, angle = np.sqrt(-2 * np.log(1 - first)), np.float32(2 * math.pi) * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
