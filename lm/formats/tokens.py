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
    """Writes the ids of documents to a token file as a stream. The file appears when it is complete, then its card."""

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
        """Append the ids of `n_documents`, each with its end token. Their text has `n_bytes` bytes in all."""
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
        ValueError: when the file is missing, has an odd size, is not as long as its card says, or holds an id that the
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
                f"{path}: must hold the {self.card.n_tokens} tokens of its card, got {size_bytes // _DTYPE.itemsize}"
            )
        self.ids: NDArray[np.uint16] = np.memmap(path, dtype=_DTYPE, mode="r") if size_bytes else np.empty(0, _DTYPE)
        for start in range(0, len(self.ids), _CHECKED_AT_ONCE):
            largest = int(self.ids[start : start + _CHECKED_AT_ONCE].max())
            if largest >= self.card.vocab_size:
                raise ValueError(f"{path}: ids must be below vocab_size={self.card.vocab_size}, got {largest}")

    def ends(self) -> NDArray[np.int64]:
        """Where the end token of each document stands.

        Raises:
            ValueError: when tokens follow the last end token, because they would belong to no document.
        """
        if len(self.ids) and (last := int(self.ids[-1])) != self.card.end_id:
            raise ValueError(f"{self.path}: must end with the end token, id {self.card.end_id}, got id {last}")
        starts = range(0, len(self.ids), _CHECKED_AT_ONCE)
        blocks = [self.ids[start : start + _CHECKED_AT_ONCE] for start in starts]
        found = [start + np.flatnonzero(block == self.card.end_id) for start, block in zip(starts, blocks, strict=True)]
        return np.concatenate([np.empty(0, np.int64), *found])

    def documents(self) -> list[NDArray[np.uint16]]:
        """The ids of each document, with its end token: views, nothing is copied.

        Raises:
            ValueError: as `ends` does.
        """
        ends = self.ends() + 1
        starts = np.concatenate([[0], ends])[:-1]
        return [self.ids[start:end] for start, end in zip(starts, ends, strict=True)]


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
