"""Linear maps and tables of vectors."""

import numpy as np
from jaxtyping import Float, Int

from lm.reference.parameter import ALL, Array, Parameter, Parameters, sum_of_rows


def linear(
    x: Float[np.ndarray, "*batch inputs"],
    weight: Float[np.ndarray, "outputs inputs"],
    bias: Float[np.ndarray, " outputs"] | None = None,
) -> Float[np.ndarray, "*batch outputs"]:
    """x W^T + b over the last axis, as one matrix product over all rows of the batch."""
    y = x.reshape(-1, x.shape[-1]) @ weight.T
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], -1)


class Linear:
    """y = x W^T + b, over the last axis. W is (outputs, inputs): a matrix, or some rows of one.

    With rows x_n and the gradient dy given: dx = dy W, dW = sum_n dy_n x_n^T = dy^T x, db = sum_n dy_n.
    """

    def __init__(self, parameters: Parameters, name: str, rows: slice = ALL) -> None:
        self.weight = parameters[f"{name}.weight"]
        self.bias = parameters.get(f"{name}.bias")
        self.rows = rows

    def forward(self, x: Float[np.ndarray, "*batch inputs"]) -> Float[np.ndarray, "*batch outputs"]:
        """The output y."""
        self._x = x.reshape(-1, x.shape[-1])
        return linear(x, self.weight.value[self.rows], None if self.bias is None else self.bias.value[self.rows])

    def backward(self, dy: Float[np.ndarray, "*batch outputs"]) -> Float[np.ndarray, "*batch inputs"]:
        """The gradient of x."""
        rows = dy.reshape(-1, dy.shape[-1])
        self.weight.add_grad(rows.T @ self._x, self.rows)
        if self.bias is not None:
            self.bias.add_grad(sum_of_rows(rows), self.rows)
        return (rows @ self.weight.value[self.rows]).reshape(*dy.shape[:-1], -1)


class Embedding:
    """The row of a table for each id. The gradient of a row is the sum over all places where the row was used."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    def forward(self, ids: Int[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch d_model"]:
        """The rows."""
        self._ids = ids.reshape(-1)
        rows: Array = self.weight.value[ids]
        return rows

    def backward(self, dy: Float[np.ndarray, "*batch d_model"]) -> None:
        """Add to the gradient of the table; ids have none."""
        # After sorting by id, the rows of an id stand together, so one call sums them.
        order = np.argsort(self._ids, kind="stable")
        ids, starts = np.unique(self._ids[order], return_index=True)
        grad = np.zeros_like(self.weight.value)
        grad[ids] = np.add.reduceat(dy.reshape(-1, dy.shape[-1])[order], starts, axis=0)
        self.weight.add_grad(grad)
