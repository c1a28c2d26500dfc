"""Documents and the text files that hold them: each document followed by a line `<|endoftext|>`."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path
from typing import IO, Literal, NamedTuple

from lm.config.special_tokens import END_OF_TEXT

SEPARATOR = END_OF_TEXT

Split = Literal["train", "valid"]


class Document(NamedTuple):
    """A text that stands alone, the split it belongs to and, where its source can tell, how surprising it is."""

    split: Split
    text: str
    bits: float | None = None  # -log2 of the exact probability of the text


@dataclass(frozen=True)
class Corpus:
    """What a source gives: documents in one pass, and facts about where they come from (for the card)."""

    documents: Iterator[Document]
    facts: dict[str, object] = field(default_factory=dict)


class DocumentWriter:
    """Writes documents to a binary file and counts them.

    A document that holds a separator line becomes several; blank ones are dropped; leading and trailing line breaks
    are not part of a document.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.n_documents = 0
        self.n_bytes = 0  # of the texts in UTF-8, without separators
        self.bits: list[float] | None = []  # of each document; None as soon as one does not know

    @property
    def bits_per_byte(self) -> float | None:
        """The entropy floor of what has been written, where every document knew its probability."""
        return None if self.bits is None or self.n_bytes == 0 else fsum(self.bits) / self.n_bytes

    def write(self, document: Document) -> None:
        """Append one document."""
        n_before = self.n_documents
        for text in split_documents(io.StringIO(document.text, newline="\n")):
            data = text.encode("utf-8", errors="replace")  # lone surrogates, as JSON can hold them
            self._file.write(data + b"\n" + SEPARATOR.encode() + b"\n")
            self.n_documents += 1
            self.n_bytes += len(data)
        assert document.bits is None or self.n_documents == n_before + 1, "a probability belongs to one document"
        if document.bits is None:
            self.bits = None
        elif self.bits is not None:
            self.bits.append(document.bits)


def split_documents(lines: Iterable[str], separator: str = SEPARATOR) -> Iterator[str]:
    """The documents in lines of text (line ends kept), where a line that holds the separator alone ends one."""
    held: list[str] = []
    for line in lines:
        if line.strip() == separator:
            if text := _joined(held):
                yield text
            held = []
        else:
            held.append(line)
    if text := _joined(held):
        yield text


def read_documents(path: Path) -> Iterator[str]:
    """The documents of a text file, one at a time."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from split_documents(file)


def _joined(lines: list[str]) -> str:
    text = "".join(lines).strip("\r\n")
    return text if text.strip() else ""
