"""A corpus file in blocks that can be worked on one by one, in any process: nothing is split across two of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.splitting import BOUNDARY, last_cut

_SEPARATOR_LINE = f"{END_OF_TEXT}\n".encode()
_SEPARATOR = b"\n" + _SEPARATOR_LINE
_BLOCK_BYTES = 2**20  # so many that array programs are quick, so few that their arrays stay in the cache


class Block(NamedTuple):
    """A part of a corpus file, in bytes."""

    path: Path
    start: int
    end: int
    starts_document: bool

    def read(self) -> bytes:
        """Its text in UTF-8, with a `BOUNDARY` at the end of each document.

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
            raise ValueError(f"{self.path}: must be UTF-8, got the byte {data[error.start]:#x} at {place}") from None
        pieces = []
        text, at_start = b"", self.starts_document
        *parts, rest = data.split(_SEPARATOR_LINE)
        for part in parts:
            text += part
            # It is a line of its own after a line break, or where a document starts, which then has no text.
            if text.endswith(b"\n") or (at_start and not text):
                pieces += [text.removesuffix(b"\n"), BOUNDARY]
                text, at_start = b"", True
            else:
                text += _SEPARATOR_LINE
        return b"".join([*pieces, text, rest])


def blocks(path: Path, last_cut: Callable[[bytes], int] = last_cut) -> Iterator[Block]:
    """The blocks of a corpus file, each of about 1 MiB: whole documents, or parts of one that is larger.

    `last_cut` finds the last place of a text where a document may be cut; where there is none, blocks grow.

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
                else:  # a document larger than the block; a separator that has only begun must stay whole
                    end = last_cut(data[: -len(_SEPARATOR)])
            yield Block(path, start, start + end, starts_document)
            start, starts_document = start + end, separator >= 0
