"""Texts from files of every format that a corpus may have, one at a time; memory does not grow with the file.

The errors of a reader name the `place` it was given: a path, or a file of a repository.
"""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lm.config.data import EVERY_LINE

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
PIECE_BYTES = 2**20  # of a line; a longer line is read in pieces
ROWS_PER_BATCH = 256  # of a parquet file; a row is a document, so this many documents are in memory
BUFFER_BYTES = 2**20  # of a parquet file; without a buffer, a whole row group is read at once


def suffix_of(name: str) -> str | None:
    """The suffix in SUFFIXES that a file name ends with, in upper or lower case; None if no reader knows the file."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def read_texts(path: Path, place: str, text_column: str, separator: str) -> Iterator[str]:
    """The texts of one file, some perhaps blank: a .txt file is cut at separator lines, another file has one per row.

    The separator is one that `DataConfig` accepts.

    Raises:
        ValueError: `place: rule, got value` for an unknown suffix and for content that breaks its format.
    """
    match suffix_of(path.name):
        case ".parquet":
            return _read_parquet(path, place, text_column)
        case ".jsonl" | ".jsonl.gz":
            return _read_jsonl(path, place, text_column)
        case ".txt" | ".txt.gz":
            return _read_txt(path, place, separator)
        case _:
            raise ValueError(f"{place}: must end in one of {', '.join(SUFFIXES)}, got {path.name!r}")


def _read_txt(path: Path, place: str, separator: str) -> Iterator[str]:
    """The texts between separator lines, without outer line breaks. Only \\n ends a line.

    A text is held once while it is read, in UTF-8, whatever the length of its lines.
    """
    held = _Held(place)
    mark = separator.strip()  # "" for blank lines
    starts_line = True
    for piece in _read_pieces(path, place):
        if starts_line and separator != EVERY_LINE and _is_line(piece, mark):
            yield held.take(dropped=len(piece))
        else:
            held.text += piece
            if separator == EVERY_LINE and piece.endswith(b"\n"):
                yield held.take()
        starts_line = piece.endswith(b"\n")
    yield held.take()


class _Held:
    """The bytes of a text that is being read, and where they lie in the file."""

    def __init__(self, place: str) -> None:
        self.text = bytearray()
        self._place = place
        self._start = 0

    def take(self, dropped: int = 0) -> str:
        """The text, bare of outer line breaks; `dropped` bytes of the file behind it are skipped."""
        text, start = self.text, self._start
        self.text, self._start = bytearray(), start + len(text) + dropped
        if start == 0 and text.startswith(codecs.BOM_UTF8):
            del text[: len(codecs.BOM_UTF8)]
            start = len(codecs.BOM_UTF8)
        del text[len(text.rstrip(b"\r\n")) :]
        return _decode(text, self._place, start)


def _is_line(piece: bytes, mark: str) -> bool:
    return mark.encode() in piece and piece.decode(errors="replace").removeprefix("\ufeff").strip() == mark


def _decode(data: bytes | bytearray, place: str, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise ValueError(f"{place}: must be UTF-8, got byte 0x{data[error.start]:02x} at offset {at}") from None


def _read_pieces(path: Path, place: str) -> Iterator[bytes]:
    """The lines of a file as bytes, line ends included. A line that is longer than PIECE_BYTES comes in pieces."""
    with path.open("rb") as file:
        source = gzip.GzipFile(fileobj=file) if path.name.lower().endswith(".gz") else file
        while True:
            try:
                piece = source.readline(PIECE_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{place}: must be a complete gzip file, got: {error}") from None
            if not piece:
                return
            yield piece


def _read_jsonl(path: Path, place: str, text_column: str) -> Iterator[str]:
    for number, line in enumerate(_read_txt(path, place, EVERY_LINE), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}:{number}: must be JSON, got {_short(line.strip())}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{place}:{number}: must be a JSON object, got {_short(row)}")
        if text_column not in row:
            raise ValueError(f"{place}:{number}: {_missing(text_column, list(row))}")
        yield _checked(row[text_column], f"{place}:{number}", text_column)


def _read_parquet(path: Path, place: str, text_column: str) -> Iterator[str]:
    with path.open("rb") as file:
        yield from _parquet_rows(file, place, text_column)


def _parquet_rows(file: IO[bytes], place: str, text_column: str) -> Iterator[str]:
    import pyarrow as pa  # imported here, because listing files must be fast and does not need it
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES)
        if text_column not in parquet.schema_arrow.names:
            raise ValueError(f"{place}: {_missing(text_column, parquet.schema_arrow.names)}")
        column_type = parquet.schema_arrow.field(text_column).type
        if not _is_string(column_type):
            raise ValueError(f"{place}: column {text_column!r} must hold strings, got {column_type}")
        batches = parquet.iter_batches(batch_size=ROWS_PER_BATCH, columns=[text_column])
        n_rows = 0
        while (batch := next(batches, None)) is not None:
            texts = batch.column(0).to_pylist()
            for row, text in enumerate(texts, start=n_rows):
                yield _checked(text, f"{place}: row {row}", text_column)
            n_rows += len(texts)
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: must be UTF-8 in column {text_column!r}, got: {error}") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the format
            raise
        raise ValueError(f"{place}: must be a whole parquet file, got: {_one_line(error)}") from None


def _is_string(column_type: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    return any(test(column_type) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _checked(text: object, place: str, text_column: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{place}: {text_column!r} must be a string, got {_short(text)}")
    return text


def _missing(text_column: str, columns: list[str]) -> str:
    return f"must have the column {text_column!r} that data.text_column names, got the columns {', '.join(columns)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
