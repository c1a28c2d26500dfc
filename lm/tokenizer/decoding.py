"""Ids that come one by one, decoded to what they add to the text before them.

Decoded alone, a part of a text can lose the space before it, and characters whose bytes lie in several tokens.
"""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import takewhile

REPLACEMENT = "\ufffd"  # stands for bytes that are not UTF-8


class Decoding(ABC):
    """A text that grows token by token."""

    @abstractmethod
    def add(self, id: int) -> str:
        """What is certain of the text with one token more: a character waits until all of its bytes have come."""

    @abstractmethod
    def rest(self, *, cut_off: bool) -> str:
        """What still waits, when no token follows.

        Bytes that cannot become a character are U+FFFD. If the text is only `cut_off`, more tokens would have
        completed its last character. So the bytes of an incomplete one at the end are left out.
        """


class ByteDecoding(Decoding):
    """Decodes tokens that stand for the same bytes wherever they stand."""

    def __init__(self, token_bytes: Callable[[int], bytes], after: Sequence[int]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for id in after:
            self.add(id)

    def add(self, id: int) -> str:
        """What is certain of the text with one token more."""
        return self._decoder.decode(self._token_bytes(id))

    def rest(self, *, cut_off: bool) -> str:
        """What still waits: a character that lacks bytes."""
        return "" if cut_off else self._decoder.decode(b"", final=True)


class ContextDecoding(Decoding):
    """Decodes tokens whose text depends on the tokens before them.

    Each time, the tokens since the last piece are decoded together with those of that piece.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        token_bytes: Callable[[int], bytes],
        is_byte: Callable[[int], bool],
        after: Sequence[int],
    ) -> None:
        """
        Args:
            decode: gives the text of ids.
            token_bytes: gives the bytes of an id inside a text.
            is_byte: whether an id stands for one byte. Whether such a byte is part of a character may depend on all the
                bytes that follow it.
            after: the ids before the text.
        """
        self._decode, self._token_bytes, self._is_byte = decode, token_bytes, is_byte
        self._context, self._waiting = list(after), list[int]()

    def add(self, id: int) -> str:
        """What is certain of the text with one token more."""
        self._waiting.append(id)
        if self._is_byte(id):
            return ""
        piece = self._piece(self._waiting)
        if not piece or piece.endswith(REPLACEMENT):
            return ""
        self._context, self._waiting = self._waiting, []
        return piece

    def rest(self, *, cut_off: bool) -> str:
        """What still waits: bytes, or a character that lacks some."""
        n_bytes = n_unfinished(b"".join(map(self._token_bytes, self._waiting))) if cut_off else 0
        if not n_bytes:
            return self._piece(self._waiting)
        if self._is_byte(self._waiting[-1]):
            return self._piece(self._waiting[:-n_bytes])
        return self._piece(self._waiting).removesuffix(REPLACEMENT)

    def _piece(self, ids: list[int]) -> str:
        return added(self._decode(self._context), self._decode([*self._context, *ids]))


def added(before: str, whole: str) -> str:
    """What a text has more than its beginning; from the first difference on if it begins in another way."""
    if whole.startswith(before):
        return whole[len(before) :]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, whole, strict=False))
    return whole[sum(1 for _ in same) :]


def n_unfinished(text: bytes) -> int:
    """The number of bytes at the end of a text that are the beginning of a character."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(text)
    return len(decoder.getstate()[0])
