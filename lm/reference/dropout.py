"""Dropout (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html)."""

import numpy as np
from jaxtyping import Float

from lm.reference.parameter import Array


class Dropout:
    """y = x m / (1 - rate). Each m is drawn as 0 with probability `rate`, otherwise 1. So dx = dy m / (1 - rate)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._scale: Array | None = None

    def forward(
        self, x: Float[np.ndarray, "*shape"], generator: np.random.Generator | None
    ) -> Float[np.ndarray, "*shape"]:
        """x with some of its numbers dropped. Without a generator x itself, because then nothing is being trained."""
        self._scale = None
        if generator is None or self.rate == 0:
            return x
        self._scale = (generator.random(x.shape, np.float32) >= self.rate).astype(x.dtype)
        self._scale /= 1 - self.rate
        return x * self._scale

    def backward(self, dy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The gradient of x."""
        return dy if self._scale is None else dy * self._scale
