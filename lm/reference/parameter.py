"""What training adjusts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Parameter:
    """An array, and the gradient of the loss with respect to it: None, or the sum of what layers have added."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.grad: Array | None = None

    def add_grad(self, grad: Array) -> None:
        """Add to the gradient; the array is kept, and must not be used by the caller any more."""
        assert grad.shape == self.value.shape
        if self.grad is None:
            self.grad = grad
        else:
            self.grad += grad


Parameters = Mapping[str, Parameter]
