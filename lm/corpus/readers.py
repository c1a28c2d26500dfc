"""Texts from files of every format that a corpus may have, one at a time and in constant memory.

The errors of a reader name the `place` it was given: a path, or a file of a repository.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lm.corpus.document import split_documents

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
ROWS_PER_BATCH = 256  # of a parquet file; a row is a document, so this many documents are in memory
BUFFER_BYTES = 2**20  # of a parquet file; without a buffer, a whole row group is read at once


def suffix_of(name: str) -> str | None:
    """The suffix in SUFFIXES that a file name ends with, in upper or lower case; None if no reader knows the file."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def read_texts(path: Path, place: str, text_column: str, separator: str, within_lines: bool = False) -> Iterator[str]:
    """The texts of one file: a .txt file is cut at separator lines; a .jsonl or .parquet file has one text per row.

    With `within_lines`, a separator inside a line of a .txt file also counts.

    Raises:
        ValueError: `place: rule, got value` for an unknown suffix and for content that breaks its format.
    """
    match suffix_of(path.name):
        case ".parquet":
            return _read_parquet(path, place, text_column)
        case ".jsonl" | ".jsonl.gz":
            return _read_jsonl(path, place, text_column)
        case ".txt" | ".txt.gz":
            lines = _read_lines(path, place)
            return split_documents(_cut_lines(lines, separator) if within_lines else lines, separator)
        case _:
            raise ValueError(f"{place}: must end in one of {', '.join(SUFFIXES)}, got {path.name!r}")


def _read_lines(path: Path, place: str) -> Iterator[str]:
    """The lines of a text file, line ends included; only \\n ends a line. A byte order mark at the start is dropped."""
    offset = 0
    for data in _read_byte_lines(path, place):
        try:
            line = data.decode()
        except UnicodeDecodeError as error:
            at = offset + error.start
            raise ValueError(f"{place}: must be UTF-8, got byte 0x{data[error.start]:02x} at offset {at}") from None
        yield line.removeprefix("\ufeff") if offset == 0 else line
        offset += len(data)


def _cut_lines(lines: Iterator[str], separator: str) -> Iterator[str]:
    for line in lines:
        text, *others = line.split(separator)
        yield text
        for other in others:
            yield separator
            yield other


def _read_byte_lines(path: Path, place: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        if not path.name.lower().endswith(".gz"):
            yield from file
            return
        lines = gzip.GzipFile(fileobj=file)
        while True:
            try:
                line = lines.readline()
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{place}: must be a complete gzip file, got: {error}") from None
            if not line:
                return
            yield line


def _read_jsonl(path: Path, place: str, text_column: str) -> Iterator[str]:
    for number, line in enumerate(_read_lines(path, place), start=1):
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
