"""Texts and rows from files of every format that a source may have, one at a time; memory stays the same.

The errors of a reader name the `place` it was given: a path, or a file of a repository.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lm.config.data import EVERY_LINE
from lm.corpus.compressed import COMPRESSIONS, read_characters, read_pieces
from lm.corpus.json_array import array_items
from lm.system.messages import one_line

TEXT_SUFFIXES = (".txt", ".json", ".jsonl", ".ndjson")
SUFFIXES = (*(suffix + packed for suffix in TEXT_SUFFIXES for packed in ("", *COMPRESSIONS)), ".parquet")
READABLE = ".txt, .json, .jsonl or .ndjson (each also with .gz, .zst, .bz2 or .xz after it), or in .parquet"
WITH_ROWS = READABLE.removeprefix(".txt, ")
ROWS_PER_BATCH = 256  # of a parquet file; a row is a document, so this many documents are in memory
BUFFER_BYTES = 2**20  # of a parquet file; without a buffer, a whole row group is read at once

Row = tuple[str, object]  # its place, for errors, and its content, or that of its column of the text


@dataclass
class NullRows:
    """What a reader does with a row whose text is null, and how many such rows it has skipped."""

    skip: bool = False
    n_skipped: int = 0


def suffix_of(name: str) -> str | None:
    """The suffix in SUFFIXES that a file name ends with, in upper or lower case; None if no reader knows the file."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def read_texts(
    path: Path, place: str, text_column: str, separator: str, nulls: NullRows | None = None
) -> Iterator[str]:
    """The texts of one file, some perhaps blank: a .txt file is cut at separator lines, another file has one per row.

    The separator is one that `DataConfig` accepts. A .json file holds an array of rows or, like .jsonl and .ndjson, a
    row on each line. Without `nulls`, a row whose text is null is an error.

    Raises:
        ValueError: `place: rule, got value` for an unknown suffix and for content that breaks its format.
    """
    if (suffix_of(path.name) or "").startswith(".txt"):
        return _read_txt(path, place, separator)
    rows = ((at, _field(row, at, text_column)) for at, row in read_rows(path, place, text_column))
    return texts_of_rows(rows, text_column, nulls or NullRows())


def read_rows(path: Path, place: str, text_column: str | None = None) -> Iterator[Row]:
    """The rows of one file that has rows, each with its place: what JSON says, or a mapping for a row of .parquet.

    With `text_column`, a row of .parquet has this column alone, which must hold strings.

    Raises:
        ValueError: as `read_texts`.
    """
    suffix = suffix_of(path.name)
    if suffix is None or suffix.startswith(".txt"):
        raise ValueError(f"{place}: must end in {READABLE if text_column else WITH_ROWS}, got {path.name!r}")
    if suffix == ".parquet":
        return _read_parquet(path, place, text_column)
    if suffix.split(".")[1] == "json" and _is_array(path, place):
        return _read_array(path, place)
    return _read_jsonl(path, place)


def texts_of_rows(rows: Iterable[Row], text_column: str, nulls: NullRows) -> Iterator[str]:
    """The texts of rows, each given as its place and its value in the column.

    Raises:
        ValueError: for a value that is no string, and for null unless `nulls` says to skip it.
    """
    for place, text in rows:
        if isinstance(text, str):
            yield text
        elif text is None and nulls.skip:
            nulls.n_skipped += 1
        else:
            hint = "; data.null_rows=skip leaves such rows out" if text is None else ""
            raise ValueError(f"{place}: {text_column!r} must be a string, got {short(text)}{hint}")


def _read_txt(path: Path, place: str, separator: str) -> Iterator[str]:
    """The texts between separator lines, without outer line breaks. Only \\n ends a line.

    A text is held once while it is read, in UTF-8, whatever the length of its lines.
    """
    held = _Held(place)
    mark = separator.strip()  # "" for blank lines
    starts_line = True
    for piece in read_pieces(path, place):
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


def _read_jsonl(path: Path, place: str) -> Iterator[Row]:
    for number, line in enumerate(_read_txt(path, place, EVERY_LINE), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}:{number}: must be JSON, got {short(line.strip())}: {error}") from None
        yield f"{place}:{number}", row


def _read_array(path: Path, place: str) -> Iterator[Row]:
    number = 0
    try:
        for row in array_items(read_characters(path, place)):
            # An array of texts has no names of columns; the `datasets` library says "text".
            yield f"{place}: row {number}", {"text": row} if isinstance(row, str) else row
            number += 1
    except (json.JSONDecodeError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"{place}: row {number}: must be an item of a JSON array, got: {reason}") from None


def _is_array(path: Path, place: str) -> bool:
    starts = (characters.lstrip()[:1] for characters in read_characters(path, place))
    return next(filter(None, starts), "") == "["


def _field(row: object, place: str, text_column: str) -> object:
    if not isinstance(row, dict):
        raise ValueError(f"{place}: must be a JSON object, got {short(row)}")
    if text_column not in row:
        raise ValueError(f"{place}: {missing(text_column, list(row))}")
    return row[text_column]


def _read_parquet(path: Path, place: str, text_column: str | None) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from _parquet_rows(file, place, text_column)


def _parquet_rows(file: IO[bytes], place: str, text_column: str | None) -> Iterator[Row]:
    import pyarrow as pa  # imported here, because listing files must be fast and does not need it
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES)
        if text_column is not None:
            _check_column(parquet.schema_arrow, text_column, place)
        columns = None if text_column is None else [text_column]
        batches = parquet.iter_batches(batch_size=ROWS_PER_BATCH, columns=columns)
        n_rows = 0
        while (batch := next(batches, None)) is not None:
            rows = batch.to_pylist()
            for number, row in enumerate(rows, start=n_rows):
                yield f"{place}: row {number}", row
            n_rows += len(rows)
    except UnicodeDecodeError as error:
        where = "" if text_column is None else f" in column {text_column!r}"
        raise ValueError(f"{place}: must be UTF-8{where}, got: {error}") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the format
            raise
        raise ValueError(f"{place}: must be a whole parquet file, got: {one_line(error)}") from None


def _check_column(schema: Any, text_column: str, place: str) -> None:
    if text_column not in schema.names:
        raise ValueError(f"{place}: {missing(text_column, schema.names)}")
    column_type = schema.field(text_column).type
    if not is_string(column_type):
        raise ValueError(f"{place}: column {text_column!r} must hold strings, got {column_type}")


def is_string(column_type: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    return any(test(column_type) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def missing(text_column: str, columns: list[str]) -> str:
    return f"must have the column {text_column!r} that data.text_column names, got the columns {', '.join(columns)}"


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
