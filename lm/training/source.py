"""Where batches come from. The rows of a step depend only on the seed and on how many rows came before them.

So a run that was resumed sees the same rows as a run that was never stopped, and all processes see the same rows.
"""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.formats.tokens import TokenFile
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


def open_source(tokens: TokenFile, context_length: int, config: TrainConfig) -> Source:
    """The rows of a token file that `train.rows` names."""
    match config.rows:
        case "windows":
            return Windows(tokens.ids, context_length, str(tokens.path))
        case "documents":
            return Documents(tokens.ids, tokens.ends(), context_length, str(tokens.path))


class _Shuffled:
    """Rows of one long array of ids: `context_length` inputs, and as many targets, one position further on.

    An epoch visits the places at which its rows start once each, in an order of its own.

    Raises:
        ValueError: when there are fewer ids than one row has; the error names them by `place`.
    """

    per_epoch: int

    def __init__(self, ids: Integer[np.ndarray, " tokens"], context_length: int, place: str) -> None:
        if len(ids) < context_length + 1:
            raise ValueError(
                f"{place}: must hold at least context_length + 1 = {context_length + 1} tokens, got {len(ids)}"
            )
        self.context_length = context_length
        self._ids = ids
        self._epoch: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """The `count` rows from number `first` on, of the endless sequence of rows that a seed gives."""
        epochs, places = np.divmod(np.arange(first, first + count), self.per_epoch)
        starts = [self._starts(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return Batch.of_windows(self._take(np.concatenate(starts)))

    @abstractmethod
    def _shuffled_starts(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Where each row of an epoch starts, in the order in which the epoch visits them."""

    def _starts(self, seed: int, epoch: int) -> NDArray[np.int64]:
        kept = self._epoch  # read once, because another thread may draw from another epoch meanwhile
        if kept is None or kept[0] != (seed, epoch):
            generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
            kept = (seed, epoch), self._shuffled_starts(generator)
            self._epoch = kept
        return kept[1]

    def _take(self, starts: Int64[np.ndarray, " count"]) -> Int64[np.ndarray, "count window"]:
        """The ids of each row. After the last id comes the first one."""
        places = (starts[:, None] + np.arange(self.context_length + 1)) % len(self._ids)
        windows: NDArray[np.int64] = self._ids[places].astype(np.int64)
        return windows


class Windows(_Shuffled):
    """Rows that are windows: an epoch cuts the ids into rows that do not overlap, wherever documents begin.

    Each epoch has its own offset at which the first window starts. Every offset at which the windows fit may come. So
    every token but the first, which follows nothing, is a target in some epoch.
    """

    def __init__(self, ids: Integer[np.ndarray, " tokens"], context_length: int, place: str = "tokens") -> None:
        super().__init__(ids, context_length, place)
        # If two or more windows fit, one of them may be left out, to leave room for the offset of the epoch.
        self.per_epoch = max(1, (len(ids) - context_length) // context_length)

    def spread(self, count: int) -> Batch:
        """At most `count` windows that do not overlap, spread evenly from the first id to the last; always the same."""
        last_start = len(self._ids) - 1 - self.context_length
        n_windows = min(count, 1 + last_start // self.context_length)
        return Batch.of_windows(self._take(np.arange(n_windows) * last_start // max(1, n_windows - 1)))

    def _shuffled_starts(self, generator: np.random.Generator) -> NDArray[np.int64]:
        offset = generator.integers(len(self._ids) - self.per_epoch * self.context_length)
        return generator.permutation(self.per_epoch) * self.context_length + offset


class Documents(_Shuffled):
    """Rows that begin where a document begins: with the end token before it, as in the evaluation.

    So a prediction has the whole document so far before it. The rest of a row is the beginning of the documents that
    follow. A document longer than the context goes on in a row of its own, which begins where the last one ended. The
    ids are read in a circle, so that the end token of the last document stands before the first document.
    """

    def __init__(
        self,
        ids: Integer[np.ndarray, " tokens"],
        ends: Int64[np.ndarray, " documents"],
        context_length: int,
        place: str = "tokens",
    ) -> None:
        """`ends`: where the end token of each document stands; the last id is one (`TokenFile.ends`)."""
        super().__init__(ids, context_length, place)
        assert ends[-1] == len(ids) - 1, "every token belongs to a document"
        first = np.concatenate([ends[-1:] - len(ids), ends[:-1]])  # the end token before each document
        n_rows = -((first - ends) // context_length)  # rounded up
        in_document = np.arange(n_rows.sum()) - np.repeat(n_rows.cumsum() - n_rows, n_rows)
        self._places = np.repeat(first, n_rows) + in_document * context_length
        self.per_epoch = len(self._places)

    def spread(self, count: int) -> Batch:
        """At most `count` rows, spread evenly from the first document to the last; always the same."""
        n_rows = min(count, self.per_epoch)
        return Batch.of_windows(self._take(self._places[np.arange(n_rows) * self.per_epoch // n_rows]))

    def _shuffled_starts(self, generator: np.random.Generator) -> NDArray[np.int64]:
        return generator.permutation(self._places)
