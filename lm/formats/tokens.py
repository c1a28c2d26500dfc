"""Token files: a raw array of little-endian uint16 ids and a card in JSON that explains it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lm.system.files import read_json, replacing, write_json

MAX_VOCAB_SIZE = 2**16
_DTYPE = np.dtype("<u2")
_CHECKED_AT_ONCE = 2**24  # ids, so 32 MiB of memory


@dataclass(frozen=True)
class TokenCard:
    """What a token file holds."""

    n_tokens: int
    n_documents: int
    n_bytes: int  # of the documents' text in UTF-8, without separators
    vocab_size: int
    end_id: int  # of the token that ends each document
    tokenizer_sha256: str  # of the tokenizer.json that made it


class TokenWriter:
    """Writes documents of ids to a token file as a stream. The file appears when it is whole, and its card after it."""

    def __init__(self, path: Path, card_path: Path, *, vocab_size: int, end_id: int, tokenizer_sha256: str) -> None:
        check_vocab_size(vocab_size)
        self._path, self._card_path = path, card_path
        self._vocab_size, self._end_id, self._tokenizer_sha256 = vocab_size, end_id, tokenizer_sha256
        self._n_tokens = self._n_documents = self._n_bytes = 0

    def __enter__(self) -> Self:
        self._draft = replacing(self._path)
        self._file = self._draft.__enter__()
        return self

    def write(self, ids: NDArray[np.unsignedinteger[Any]], n_documents: int, n_bytes: int) -> None:
        """Append the ids of documents of `n_bytes` of text in all, with those that end them."""
        self._file.write(ids.astype(_DTYPE, copy=False).data)
        self._n_tokens += len(ids)
        self._n_documents += n_documents
        self._n_bytes += n_bytes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draft.__exit__(kind, error, trace)
        if kind is None:
            write_json(self._card_path, asdict(self.card))

    @property
    def card(self) -> TokenCard:
        """The card of what has been written so far."""
        return TokenCard(
            self._n_tokens, self._n_documents, self._n_bytes, self._vocab_size, self._end_id, self._tokenizer_sha256
        )


class TokenFile:
    """A token file on disk, mapped into memory and checked against its card.

    Raises:
        ValueError: when the file is missing, of odd size, not as long as its card says, or holds an id that the
            vocabulary does not have.
    """

    def __init__(self, path: Path, card_path: Path) -> None:
        self.path = path
        self.card = _read_card(card_path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        size_bytes = path.stat().st_size
        if size_bytes % _DTYPE.itemsize:
            raise ValueError(f"{path}: must hold 2 bytes a token, got the odd size of {size_bytes} bytes")
        if size_bytes != self.card.n_tokens * _DTYPE.itemsize:
            raise ValueError(
                f"{path}: must hold the {self.card.n_tokens} tokens its card names, got {size_bytes // _DTYPE.itemsize}"
            )
        self.ids: NDArray[np.uint16] = np.memmap(path, dtype=_DTYPE, mode="r") if size_bytes else np.empty(0, _DTYPE)
        for start in range(0, len(self.ids), _CHECKED_AT_ONCE):
            largest = int(self.ids[start : start + _CHECKED_AT_ONCE].max())
            if largest >= self.card.vocab_size:
                raise ValueError(f"{path}: ids must be below vocab_size={self.card.vocab_size}, got {largest}")

    def windows(self, context_length: int) -> "Windows":
        """The file as training windows of one context each."""
        return Windows(self, context_length)

    def documents(self) -> list[NDArray[np.uint16]]:
        """The ids of each document, each with the token that ends it: views, nothing is copied."""
        ends = np.flatnonzero(self.ids == self.card.end_id) + 1
        starts = np.concatenate([[0], ends])[:-1]
        return [self.ids[start:end] for start, end in zip(starts, ends, strict=True)]


class Windows:
    """Training windows of a token file: `context_length` inputs and, one further on, as many targets.

    An epoch cuts the file into windows that do not overlap and visits each once, in an order and from an offset of its
    own. Which windows a step sees is a function of the seed and of how many came before; nothing else is remembered.

    Raises:
        ValueError: when the file is shorter than one window.
    """

    def __init__(self, tokens: TokenFile, context_length: int) -> None:
        n_tokens = len(tokens.ids)
        if n_tokens < context_length + 1:
            raise ValueError(
                f"{tokens.path}: must hold at least context_length + 1 = {context_length + 1} tokens, got {n_tokens}"
            )
        self._ids = tokens.ids
        self._context_length = context_length
        # One window less than fits, where there are two or more, leaves room for the epoch's offset.
        self.per_epoch = max(1, (n_tokens - context_length) // context_length)
        self._n_offsets = min(context_length, n_tokens - self.per_epoch * context_length)
        self._epoch: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def draw(self, seed: int, first: int, count: int) -> NDArray[np.int64]:
        """Windows number `first` to `first + count` of the endless sequence of a seed: (count, context_length + 1)."""
        epochs, places = np.divmod(np.arange(first, first + count), self.per_epoch)
        starts = [self._starts(seed, int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)]
        return self._take(np.array(starts))

    def spread(self, count: int) -> NDArray[np.int64]:
        """At most `count` windows spread evenly over the file, always the same: (n, context_length + 1)."""
        n_windows = (len(self._ids) - 1) // self._context_length
        chosen = np.arange(min(count, n_windows)) * n_windows // min(count, n_windows)
        return self._take(chosen * self._context_length)

    def _starts(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Where each window of an epoch starts, in the order of the visit."""
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
            offset = generator.integers(self._n_offsets)
            self._epoch = (seed, epoch), generator.permutation(self.per_epoch) * self._context_length + offset
        return self._epoch[1]

    def _take(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        windows: NDArray[np.int64] = self._ids[starts[:, None] + np.arange(self._context_length + 1)].astype(np.int64)
        return windows


def check_vocab_size(vocab_size: int) -> None:
    """Raise ValueError when ids of this vocabulary do not fit into 16 bits."""
    if vocab_size > MAX_VOCAB_SIZE:
        raise ValueError(f"tokenizer.vocab_size: must be at most {MAX_VOCAB_SIZE} to fit uint16, got {vocab_size}")


def _read_card(path: Path) -> TokenCard:
    values = read_json(path)
    try:
        return TokenCard(**values)
    except TypeError:
        raise ValueError(f"{path}: must be the card of a token file, got {values!r}") from None
