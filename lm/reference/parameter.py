"""A parameter with its gradient, and the sum of rows that many gradients need."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
ALL = slice(None)  # rows


class Parameter:
    """An array, and the gradient of the loss with respect to it: the sum of what layers have added, or None."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.grad: Array | None = None

    def add_grad(self, grad: Array, rows: slice = ALL) -> None:
        """Add to the gradient of these rows. The parameter keeps the array `grad`, so do not use it again."""
        if rows != ALL:
            part, grad = grad, np.zeros_like(self.value)
            grad[rows] = part
        assert grad.shape == self.value.shape
        if self.grad is None:
            self.grad = grad
        else:
            self.grad += grad


Parameters = Mapping[str, Parameter]


def sum_of_rows(x: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, " width"]:
    """The sum over all axes but the last.

    It is computed as a product with ones, because BLAS adds in blocks. This rounds less than the sum of NumPy, which
    adds one row after another.
    """
    rows = x.reshape(-1, x.shape[-1])
    return np.ones(len(rows), x.dtype) @ rows
