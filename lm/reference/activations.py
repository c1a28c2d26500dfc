"""Activation functions, alone and as layers with their derivatives."""

import math
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from lm.reference.parameter import Array


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    # For x below -88 the result is under 1e-38 in any case. e^88 still fits in float32.
    y = np.exp(np.minimum(-x, 88.0))
    y += 1
    return np.reciprocal(y, out=y)


def softmax(x: Float[np.ndarray, "*shape"], axis: int = -1) -> Float[np.ndarray, "*shape"]:
    """e^x divided by its sum along an axis. The largest x is subtracted first, so that no e^x overflows."""
    e = np.exp(x - x.max(axis, keepdims=True))
    e /= e.sum(axis, keepdims=True)
    return e


def silu(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """x sigmoid(x) (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415)."""
    return x * sigmoid(x)


_ROOT, _CUBIC = math.sqrt(2 / math.pi), 0.044715  # of the approximation of GELU


class SiLU:
    """y = x s with s = sigmoid(x) (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415).

    Because ds/dx = s (1 - s), dy/dx = s + x s (1 - s) = s + y (1 - s).
    """

    def forward(self, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The activation of x."""
        self._s = sigmoid(x)
        self._y = x * self._s
        return self._y

    def backward(self, dy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The gradient of x."""
        dx = 1 - self._s
        dx *= self._y
        dx += self._s
        dx *= dy
        return dx


class GELU:
    """y = x P(x). P is the distribution function of the standard normal (Hendrycks & Gimpel 2016, section 2).

    dy/dx = P(x) + x p(x), with the density p(x) = e^(-x^2 / 2) / sqrt(2 pi).
    """

    def forward(self, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The activation of x."""
        self._x, self._p = x, normal_distribution(x)
        return x * self._p

    def backward(self, dy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The gradient of x."""
        dx = np.exp(-0.5 * self._x**2)
        dx *= self._x / math.sqrt(2 * math.pi)
        dx += self._p
        dx *= dy
        return dx


class TanhGELU:
    """y = x (1 + t) / 2 with t = tanh(c (x + a x^3)), c = sqrt(2 / pi), a = 0.044715: GPT-2's approximation of GELU.

    Hendrycks & Gimpel 2016, section 2. Because dt/dx = (1 - t^2) c (1 + 3 a x^2), dy/dx = (1 + t + x dt/dx) / 2.
    """

    def forward(self, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The activation of x."""
        self._x, square = x, np.square(x)
        self._t = np.tanh(_ROOT * x * (1 + _CUBIC * square))
        self._slope = _ROOT * (1 + 3 * _CUBIC * square)
        return 0.5 * x * (1 + self._t)

    def backward(self, dy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The gradient of x."""
        dx = self._x * (1 - np.square(self._t))
        dx *= self._slope
        dx += 1 + self._t
        dx *= 0.5
        dx *= dy
        return dx


class SquaredReLU:
    """y = max(x, 0)^2 (So et al. 2021, https://arxiv.org/abs/2109.08668), so dy/dx = 2 max(x, 0)."""

    def forward(self, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The activation of x."""
        self._positive = np.maximum(x, 0)
        return np.square(self._positive)

    def backward(self, dy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The gradient of x."""
        dx = self._positive * 2
        dx *= dy
        return dx


_STEP = 1 / 64  # between the points of the table below
_END = 9.0  # farther from 0 than this, the distribution is within 1e-18 of 0 or 1


def normal_distribution(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """(1 + erf(x / sqrt 2)) / 2, to the rounding of x's dtype. NumPy has no erf.

    A table holds the Taylor coefficients at points 1 / 64 apart. Each x uses the coefficients of the nearest point,
    which is at most 1 / 128 away. At this distance three terms suffice for float32 and six for float64.
    """
    n_terms = 6 if x.dtype == np.float64 else 3
    coefficients = _taylor_coefficients(n_terms, x.dtype)
    inside = np.clip(x, -_END, _END)
    point = np.nan_to_num(np.rint(inside / _STEP))  # NaN has no place in the table; h and y stay NaN
    h = inside - point * _STEP
    place = point.astype(np.intp) + (coefficients.shape[1] - 1) // 2
    y: Array = coefficients[n_terms][place]
    for row in coefficients[n_terms - 1 :: -1]:
        y *= h
        y += row[place]
    return y


@cache
def _taylor_coefficients(n_terms: int, dtype: np.dtype[Any]) -> Array:
    """Row k holds P^(k)(a) / k! at the points a of the table.

    P' is the density p, and p^(k) = -a p^(k-1) - (k - 1) p^(k-2), from p' = -a p.
    """
    a = np.arange(-_END, _END + _STEP / 2, _STEP)
    rows = [np.array([0.5 * math.erfc(-point / math.sqrt(2)) for point in a])]
    density, before = np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi), np.zeros_like(a)
    for k in range(1, n_terms + 1):
        rows.append(density / math.factorial(k))
        density, before = -a * density - (k - 1) * before, density
    rows[0][0] = 0.0  # all x below take this value, and GELU multiplies it by x, which may be large
    return np.array(rows).astype(dtype)
