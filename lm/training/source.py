"""Where batches come from. Which rows a step sees is a function of the seed and of how many rows came before it.

Nothing else is remembered, so a run that was stopped, or one of several processes, sees the same rows.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer
from numpy.typing import NDArray

from lm.training.batch import Batch


@runtime_checkable  # so that the tests can check arguments
class Source(Protocol):
    """Rows to train on or to validate on."""

    @property
    def context_length(self) -> int:
        """How many positions a row has."""

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """Rows number `first` to `first + count` of the endless sequence of a seed."""

    def spread(self, count: int) -> Batch:
        """At most `count` rows spread evenly over all there are, always the same ones."""


class Windows:
    """Windows of one long array of ids: `context_length` inputs and, one further on, as many targets, each of weight 1.

    An epoch cuts the array into windows that do not overlap and visits each once, in an order and from an offset of its
    own.

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
        # One window less than fits, where there are two or more, leaves room for the epoch's offset.
        self.per_epoch = max(1, (n_tokens - context_length) // context_length)
        self._n_offsets = min(context_length, n_tokens - self.per_epoch * context_length)
        self._epoch: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """Windows number `first` to `first + count` of the endless sequence of a seed."""
        epochs, places = np.divmod(np.arange(first, first + count), self.per_epoch)
        starts = [self._starts(seed, int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)]
        return Batch.of_windows(self._take(np.array(starts)))

    def spread(self, count: int) -> Batch:
        """At most `count` windows spread evenly over all ids, always the same ones."""
        n_windows = (len(self._ids) - 1) // self.context_length
        chosen = np.arange(min(count, n_windows)) * n_windows // min(count, n_windows)
        return Batch.of_windows(self._take(chosen * self.context_length))

    def _starts(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Where each window of an epoch starts, in the order of the visit."""
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
