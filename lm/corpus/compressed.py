"""The content of a file in pieces, as bytes or text. The end of its name says whether it is compressed."""

import bz2
import codecs
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase, BufferedReader
from pathlib import Path

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
PIECE_BYTES = 2**20


def read_pieces(path: Path, place: str) -> Iterator[bytes]:
    """The lines of a file as bytes, line ends included. A line that is longer than PIECE_BYTES comes in pieces.

    Raises:
        ValueError: `place: rule, got value` for a file that is not whole.
    """
    return _read(path, place, lambda file: file.readline(PIECE_BYTES))


def read_characters(path: Path, place: str) -> Iterator[str]:
    """The text of a file in pieces of about PIECE_BYTES, without a byte order mark.

    Raises:
        ValueError: `place: rule, got value` for a file that is not whole or not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    n_bytes = 0
    try:
        for data in _read(path, place, lambda file: file.read(PIECE_BYTES)):
            if text := decoder.decode(data):
                yield text
            n_bytes += len(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"{place}: must be UTF-8, got byte 0x{byte:02x} after offset {n_bytes}") from None


def one_line(error: Exception) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split())


def _read(path: Path, place: str, read: Callable[[BufferedIOBase], bytes]) -> Iterator[bytes]:
    """What `read` gives of a file, call by call, after decompression if the file name asks for it."""
    packed = path.suffix.lower()
    with path.open("rb") as file:
        unpacked, own_error = _decompressor(file, packed)
        while True:
            try:
                data = read(unpacked)
            except (EOFError, OSError, zlib.error, own_error) as error:
                if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the format
                    raise
                name = COMPRESSIONS[packed]
                raise ValueError(f"{place}: must be a complete {name} file, got: {one_line(error)}") from None
            if not data:
                return
            yield data


def _decompressor(file: BufferedReader, packed: str) -> tuple[BufferedIOBase, type[Exception]]:
    """The decompressed file, and the error that its library raises beside EOFError and OSError."""
    match packed:
        case ".gz":
            return gzip.GzipFile(fileobj=file), gzip.BadGzipFile
        case ".bz2":
            return bz2.BZ2File(file), EOFError
        case ".xz":
            return lzma.LZMAFile(file), lzma.LZMAError
        case ".zst":  # imported here, because it is rare
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            return zstd.ZstdFile(file), zstd.ZstdError
        case _:
            return file, EOFError
