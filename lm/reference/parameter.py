"""What training adjusts, and the sum that the gradients of many parameters are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
ALL = slice(None)  # rows


class Parameter:
    """An array, and the gradient of the loss with respect to it: None, or the sum of what layers have added."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.grad: Array | None = None

    def add_grad(self, grad: Array, rows: slice = ALL) -> None:
        """Add to the gradient of these rows; the array is kept, and must not be used by the caller any more."""
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

    As a product with ones: BLAS adds in blocks, which rounds less than adding one row after another, as NumPy does.
    """
    rows = x.reshape(-1, x.shape[-1])
    return np.ones(len(rows), x.dtype) @ rows
