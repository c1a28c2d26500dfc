"""Words as numbers: each distinct word gets a number, so that a text becomes an array."""

import numpy as np
from numpy.typing import NDArray

from lm.tokenizer.splitting import word_starts
from lm.tokenizer.table import KeyTable

_LONGEST = 15  # most bytes of a word that fit into a key of 128 bits together with its length
_BITS_OF_LENGTH = np.uint64(56)  # the place of the length in the second half of the key
_LENGTH = np.minimum(np.arange(_LONGEST + 2), _LONGEST + 1)
_LOW = np.array([2 ** (8 * min(n, 8)) - 1 for n in _LENGTH.tolist()], dtype=np.uint64)  # masks for the first 8 bytes
_HIGH = np.array([2 ** (8 * min(max(n - 8, 0), 7)) - 1 for n in _LENGTH.tolist()], dtype=np.uint64)
_TAG = _LENGTH.astype(np.uint64) << _BITS_OF_LENGTH


class WordIndex:
    """Numbers the distinct words of texts 1, 2, 3, ...

    The key of a short word is its bytes, so two words never have the same key. Long words are rare: they are kept in a
    list, and the key of a long word is its place in that list.
    """

    def __init__(self) -> None:
        self._table = KeyTable(2)
        self._long: list[bytes] = []
        self._number_of_long: dict[bytes, int] = {}

    def __len__(self) -> int:
        """The number of distinct words so far, which is also the largest number."""
        return len(self._table)

    def number(self, text: bytes, starts: NDArray[np.intp] | None = None) -> NDArray[np.int32]:
        """The number of each word of a text; new words get new numbers."""
        if starts is None:
            starts = word_starts(text)
        length = np.diff(starts, append=len(text))
        longer = np.flatnonzero(length > 8)
        eight_bytes = np.ndarray((len(text) + 8,), dtype="<u8", buffer=text + bytes(16), strides=(1,))
        size = np.minimum(length, _LONGEST + 1)
        low = eight_bytes[starts] & _LOW.take(size)
        high = _TAG.take(size)
        high[longer] |= eight_bytes[starts[longer] + 8] & _HIGH[size[longer]]

        number = self._table.find(low, high)
        long = longer[length[longer] > _LONGEST]
        if long.size:
            ends = starts[long] + length[long]
            number[long] = self._number_long(
                [text[i:j] for i, j in zip(starts[long].tolist(), ends.tolist(), strict=True)]
            )
        new = np.flatnonzero(number == 0)
        if new.size:
            number[new] = self._add(low[new], high[new])
        return number

    def spell(self, first: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """The bytes of the words from number `first` on, one after another (n,), and the length of each word."""
        low, high = self._table.column(0, first), self._table.column(1, first)
        length = (high >> _BITS_OF_LENGTH).astype(np.intp)
        is_long = length > _LONGEST
        long = [self._long[place] for place in low[is_long].tolist()]
        length[is_long] = [len(word) for word in long]
        key = np.stack([low, high], axis=1).astype("<u8").view(np.uint8)
        data = np.empty(int(length.sum()), dtype=np.uint8)
        in_long = np.repeat(is_long, length)
        data[~in_long] = key[np.arange(16) < np.where(is_long, 0, length)[:, None]]
        data[in_long] = np.frombuffer(b"".join(long), dtype=np.uint8)
        return data, length

    def _number_long(self, words: list[bytes]) -> list[int]:
        """The numbers of long words; new words get new numbers."""
        n_known, n_long = len(self._table), len(self._long)
        for word in words:
            if word not in self._number_of_long:
                self._long.append(word)
                self._number_of_long[word] = n_known + len(self._long) - n_long
        places = np.arange(n_long, len(self._long), dtype=np.uint64)
        if places.size:
            self._table.add(places, np.full_like(places, _TAG[-1]))
        return [self._number_of_long[word] for word in words]

    def _add(self, low: NDArray[np.uint64], high: NDArray[np.uint64]) -> NDArray[np.int32]:
        """New numbers for keys that are not in the table but may repeat."""
        order = np.lexsort((low, high))
        low, high = low[order], high[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        numbers = np.empty(len(order), dtype=np.int32)
        numbers[order] = self._table.add(low[first], high[first])[np.cumsum(first) - 1]
        return numbers
