"""Where batches come from. The rows of a step depend only on the seed and on how many rows came before them.

So a run that was resumed sees the same rows as a run that was never stopped, and all processes see the same rows.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer
from numpy.typing import NDArray

from lm.training.batch import Batch


@runtime_checkable  # so that the tests can check arguments
class Source(Protocol):
    """Rows to train on or to validate on. Each batch needs some weight: without it there is no loss."""

    @property
    def context_length(self) -> int:
        """How many positions a row has."""

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """The `count` rows from number `first` on, of the endless sequence of rows that a seed gives."""

    def spread(self, count: int) -> Batch:
        """At most `count` rows, spread evenly over all rows; always the same ones."""


class Windows:
    """Windows of one long array of ids: `context_length` inputs, and as many targets, one position further on.

    An epoch cuts the array into windows that do not overlap, and visits each window once. Each epoch has its own order,
    and its own offset at which the first window starts. Every offset at which the windows fit may come. So every token
    but the first, which follows nothing, is a target in some epoch.

    Raises:
        ValueError: when there are fewer ids than one window has; the error names them by `place`.
    """

    def __init__(self, ids: Integer[np.ndarray, " tokens"], context_length: int, place: str = "tokens") -> None:
        n_tokens = len(ids)
        if n_tokens < context_length + 1:
            raise ValueError(
                f"{place}: must hold at least context_length + 1 = {context_length + 1} tokens, got {n_tokens}"
            )
        self.context_length = context_length
        self._ids = ids
        # If two or more windows fit, one of them may be left out, to leave room for the offset of the epoch.
        self.per_epoch = max(1, (n_tokens - context_length) // context_length)
        self._n_offsets = n_tokens - self.per_epoch * context_length
        self._epoch: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """The `count` windows from number `first` on, of the endless sequence of windows that a seed gives."""
        epochs, places = np.divmod(np.arange(first, first + count), self.per_epoch)
        starts = [self._starts(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return Batch.of_windows(self._take(np.concatenate(starts)))

    def spread(self, count: int) -> Batch:
        """At most `count` windows that do not overlap, spread evenly from the first id to the last; always the same."""
        last_start = len(self._ids) - 1 - self.context_length
        n_windows = min(count, 1 + last_start // self.context_length)
        return Batch.of_windows(self._take(np.arange(n_windows) * last_start // max(1, n_windows - 1)))

    def _starts(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Where each window of an epoch starts, in the order in which the epoch visits them."""
        kept = self._epoch  # read once, because another thread may draw from another epoch meanwhile
        if kept is None or kept[0] != (seed, epoch):
            generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
            offset = generator.integers(self._n_offsets)
            kept = (seed, epoch), generator.permutation(self.per_epoch) * self.context_length + offset
            self._epoch = kept
        return kept[1]

    def _take(self, starts: Int64[np.ndarray, " count"]) -> Int64[np.ndarray, "count window"]:
        windows: NDArray[np.int64] = self._ids[starts[:, None] + np.arange(self.context_length + 1)].astype(np.int64)
        return windows
