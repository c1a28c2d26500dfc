"""What one step of training sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float32, Int64


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, the token to predict at each position, and how much each prediction counts.

    The loss of a batch is the sum of weight times loss, divided by the sum of the weights. A weight of 0 leaves a
    position out, such as padding, or the words of the user in a dialogue. Its target must still be an id.
    """

    inputs: Int64[np.ndarray, "batch seq"]
    targets: Int64[np.ndarray, "batch seq"]
    weights: Float32[np.ndarray, "batch seq"]

    @classmethod
    def of_windows(cls, windows: Int64[np.ndarray, "batch window"]) -> Self:
        """The batch whose target is the next token, at every position of each window."""
        inputs, targets = windows[:, :-1], windows[:, 1:]
        return cls(inputs, targets, np.ones(inputs.shape, np.float32))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.inputs)

    def rows(self, start: int, end: int) -> "Batch":
        """The rows from `start` up to `end`: views, nothing is copied."""
        return Batch(self.inputs[start:end], self.targets[start:end], self.weights[start:end])

    def split(self, n_rows: int) -> "list[Batch]":
        """The batch in parts of `n_rows` rows; the last part may have fewer."""
        return [self.rows(start, start + n_rows) for start in range(0, len(self), n_rows)]

    @property
    def weight(self) -> float:
        """The sum of the weights."""
        return float(self.weights.sum(dtype=np.float64))


def total_weight(parts: Sequence[Batch]) -> float:
    """The sum of the weights of a batch given in parts.

    Raises:
        ValueError: when no prediction counts, so that there is no loss.
    """
    total = sum(part.weight for part in parts)
    if not total > 0:
        raise ValueError(f"batch: the weights of its predictions must add up to more than 0, got {total:g}")
    return total
