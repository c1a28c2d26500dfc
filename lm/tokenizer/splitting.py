"""Splits text into words, like GPT-2's pattern, with array operations on bytes. Merges never cross words.

A regular expression reads one character after another. But the characters around a place already tell whether a match
starts there: a change of character class, a space before it, an apostrophe. So all starts are found at once.
"""

import numpy as np
from numpy.typing import NDArray

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.unicode import OTHER, SPACE, class_table

# Radford et al. 2019, in the released code (encoder.py). Every character belongs to exactly one match.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_BOUNDARY_CLASS = 4  # of the byte between texts, which is a word of its own

_CLASS = class_table()
_CLASS_OF_BYTE = bytes([*_CLASS[:128].tolist(), *[OTHER] * 127, _BOUNDARY_CLASS])
_LENGTH_OF_LEAD = np.repeat([1, 2, 3, 4], [0xC0, 0x20, 0x10, 0x10])  # number of bytes of a character, by its first byte
_BITS_OF_LEAD = np.array([0, 0x7F, 0x1F, 0x0F, 0x07])  # bits of the first byte that are in the code point, by length
_REACH = 8  # bytes before or after a place that can decide whether a word starts there (two characters)


def word_starts(text: bytes) -> NDArray[np.intp]:
    """Where each word starts: offsets in bytes, ascending.

    `text` must be UTF-8, with a `BOUNDARY` between separate texts. The caller has checked it.

    >>> word_starts(b"It's  a fox!").tolist()
    [0, 2, 4, 5, 7, 11]
    """
    padded = text + BOUNDARY * _REACH
    byte = np.frombuffer(padded, dtype=np.uint8)
    kind = np.frombuffer(bytearray(padded.translate(_CLASS_OF_BYTE)), dtype=np.uint8)
    wide_spaces = np.empty((2, 0), dtype=np.intp) if text.isascii() else _classify_wide_characters(byte, kind)
    white, boundary = kind == SPACE, kind == _BOUNDARY_CLASS

    start = np.empty(len(byte), dtype=bool)
    start[0] = True
    # A word starts where the class changes, but not after a space, because " ?" starts the word with that space.
    start[1:] = (kind[1:] != kind[:-1]) & ((byte[:-1] != ord(" ")) | white[1:])
    # The last character of white space starts a new match if text follows: "\s+(?!\S)".
    start[:-1] |= white[:-1] & ~(white | boundary)[1:]
    # The rule above has marked the last byte of white characters of several bytes; the first byte must be marked.
    first, last = wide_spaces
    start[first] |= start[last]
    start[last] = False
    start |= boundary
    _apply_contractions(start, byte)
    return np.flatnonzero(start[: len(text)])


def last_cut(text: bytes) -> int:
    """The last place where cutting a text keeps its words the same, whatever text follows; 0 if there is none.

    >>> last_cut(b"Once upon a time there was")
    16
    """
    window = 2**12
    while True:
        begin = max(0, len(text) - window)
        while begin > 0 and text[begin] & 0xC0 == 0x80:
            begin -= 1  # to the first byte of a character
        part = text[begin:]
        starts: list[int] = word_starts(part)[::-1].tolist()
        for start in starts:
            # Not after white space, because all white space at the end of a text becomes one word.
            if _REACH <= start <= len(part) - _REACH and not _ends_white(part[:start]):
                return begin + start
        if begin == 0:
            return 0
        window *= 2


def _classify_wide_characters(byte: NDArray[np.uint8], kind: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Set the class of the bytes of characters beyond ASCII; return first and last bytes of white ones: (2, n)."""
    lead = np.flatnonzero((byte >= 0xC0) & (kind != _BOUNDARY_CLASS))
    length = _LENGTH_OF_LEAD[byte[lead]]
    code = byte[lead] & _BITS_OF_LEAD[length]
    for i in (1, 2, 3):
        longer = length > i
        code[longer] = code[longer] << 6 | byte[lead[longer] + i] & 0x3F
    kinds = _CLASS.take(code, mode="clip")  # the last character of a part may be incomplete
    for i in (0, 1, 2, 3):
        longer = length > i
        kind[lead[longer] + i] = kinds[longer]
    spaces = kinds == SPACE
    return np.stack([lead[spaces], lead[spaces] + length[spaces] - 1])


def _apply_contractions(start: NDArray[np.bool_], byte: NDArray[np.uint8]) -> None:
    """Where a word starts with an apostrophe and s, d, m, t, ll, ve or re, end it there and start the next word."""
    quote = np.flatnonzero(byte == ord("'"))
    quote = quote[start[quote]]
    one, two = byte[quote + 1], byte[quote + 2]
    short = quote[(one == ord("s")) | (one == ord("d")) | (one == ord("m")) | (one == ord("t"))]
    long = quote[
        ((one == ord("l")) & (two == ord("l")))
        | ((one == ord("v")) & (two == ord("e")))
        | ((one == ord("r")) & (two == ord("e")))
    ]
    start[short + 1] = False
    start[long + 1] = False
    start[short + 2] = True
    start[long + 3] = True


def _ends_white(text: bytes) -> bool:
    return text[-4:].decode(errors="ignore")[-1:].isspace()
