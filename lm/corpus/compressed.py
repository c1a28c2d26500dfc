"""The content of a file in pieces, as bytes or text. The end of its name says whether it is compressed."""

import bz2
import codecs
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

from lm.system.messages import one_line

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
            return BufferedReader(_Streams(file, bz2.BZ2Decompressor)), EOFError
        case ".xz":
            return BufferedReader(_Streams(file, lzma.LZMADecompressor)), lzma.LZMAError
        case ".zst":  # imported here, because it is rare
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            return zstd.ZstdFile(file), zstd.ZstdError
        case _:
            return file, EOFError


class _Streams(RawIOBase):
    """Compressed streams one after another, decompressed.

    Python's own readers of .bz2 and .xz take what follows a stream for padding if it is no stream itself, and drop it.
    """

    def __init__(self, file: BufferedReader, start: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._file, self._start = file, start
        self._decompressor = start()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer. Returns the number of bytes, 0 at the end."""
        while True:
            data = b""
            if self._decompressor.eof:
                rest = self._decompressor.unused_data or self._file.read(PIECE_BYTES)
                while rest and not (rest := rest.lstrip(b"\0")):  # padding, which .xz may have
                    rest = self._file.read(PIECE_BYTES)
                if not rest:
                    return 0
                self._decompressor, data = self._start(), rest
            elif self._decompressor.needs_input and not (data := self._file.read(PIECE_BYTES)):
                raise EOFError("it ends before its end mark")
            if unpacked := self._decompressor.decompress(data, len(buffer)):
                buffer[: len(unpacked)] = unpacked
                return len(unpacked)
