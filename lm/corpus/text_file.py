"""The text format of the pipeline: documents in UTF-8, each followed by a line that holds only `<|endoftext|>`.

A file is read document by document, or in blocks, which several processes can work on. A document is cut into several
blocks only if it is larger than a block.
"""

from collections.abc import Callable, Iterator
from math import fsum
from pathlib import Path
from typing import IO, NamedTuple

from lm.config.special_tokens import END_OF_TEXT
from lm.corpus.document import Document, split_documents

# A byte that UTF-8 never holds. `Block.read` puts it at the end of each document.
BOUNDARY = b"\xff"

_SEPARATOR_LINE = f"{END_OF_TEXT}\n".encode()
_SEPARATOR = b"\n" + _SEPARATOR_LINE
_CHARACTERS_AT_ONCE = 2**20  # of a long document, so that it is not copied as a whole
_BLOCK_BYTES = 2**20  # large enough for fast array operations, small enough for the processor's cache


class DocumentWriter:
    """Writes documents to a binary file in this format, and counts them.

    A document that holds the separator, also within a line, becomes several documents. Blank documents are dropped.
    Leading and trailing line breaks are not part of a document.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.n_documents = 0
        self.n_bytes = 0  # of the texts in UTF-8, without separators
        self.bits: list[float] | None = []  # of each document; None after a document without bits

    @property
    def bits_per_byte(self) -> float | None:
        """The entropy floor of the text so far; None if there is no text, or a document came without bits."""
        return None if self.bits is None or self.n_bytes == 0 else fsum(self.bits) / self.n_bytes

    def write(self, document: Document) -> None:
        """Append one document."""
        n_before = self.n_documents
        for text in split_documents(document.text):
            for start in range(0, len(text), _CHARACTERS_AT_ONCE):
                data = text[start : start + _CHARACTERS_AT_ONCE].encode("utf-8", errors="replace")  # lone surrogates
                self.n_bytes += self._file.write(data)
            self._file.write(_SEPARATOR)
            self.n_documents += 1
        assert document.bits is None or self.n_documents == n_before + 1, "a probability belongs to one document"
        if document.bits is None:
            self.bits = None
        elif self.bits is not None:
            self.bits.append(document.bits)


class Block(NamedTuple):
    """A part of a text file, from byte `start` to byte `end`."""

    path: Path
    start: int
    end: int
    starts_document: bool

    def read(self) -> bytes:
        """The text of the block in UTF-8, with a `BOUNDARY` at the end of each document.

        Raises:
            ValueError: when it is not UTF-8.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            data = file.read(self.end - self.start)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            place = self.start + error.start
            raise ValueError(f"{self.path}: must be UTF-8, got byte {data[error.start]:#x} at offset {place}") from None
        pieces = []
        text, at_start = b"", self.starts_document
        *parts, rest = data.split(_SEPARATOR_LINE)
        for part in parts:
            text += part
            # The separator is a line of its own after a line break, or at the start of a document, which is then blank.
            if text.endswith(b"\n") or (at_start and not text):
                pieces += [text.removesuffix(b"\n"), BOUNDARY]
                text, at_start = b"", True
            else:
                text += _SEPARATOR_LINE
        return b"".join([*pieces, text, rest])


def read_documents(path: Path) -> Iterator[str]:
    """The documents of a file, one at a time. Raises as `blocks` and `Block.read` do."""
    held: list[bytes] = []
    for block in blocks(path, lambda text: text.rfind(b"\n") + 1):
        *ends, rest = block.read().split(BOUNDARY)
        for end in ends:
            yield b"".join([*held, end]).decode()
            held = []
        held.append(rest)


def blocks(path: Path, last_cut: Callable[[bytes], int]) -> Iterator[Block]:
    """The blocks of a file, each of about 1 MiB: whole documents, or parts of a larger document.

    `last_cut` gives the last place in a text where a document may be cut. It gives 0 if there is none; the block grows.

    Raises:
        ValueError: when a document is not followed by a separator line.
    """
    size = path.stat().st_size
    start, starts_document = 0, True
    with path.open("rb") as file:
        while start < size:
            length, end = _BLOCK_BYTES, 0
            while not end:
                file.seek(start)
                data = file.read(length)
                length *= 2
                separator = data.rfind(_SEPARATOR)
                if separator >= 0:
                    end = separator + len(_SEPARATOR)
                elif starts_document and data.startswith(_SEPARATOR_LINE):
                    separator, end = 0, len(_SEPARATOR_LINE)
                elif start + len(data) == size:
                    raise ValueError(f"{path}: must end with a line {END_OF_TEXT}, as every document does")
                else:  # a document larger than the block; the end of the data may be a part of a separator
                    end = last_cut(data[: -len(_SEPARATOR)])
            yield Block(path, start, start + end, starts_document)
            start, starts_document = start + end, separator >= 0
