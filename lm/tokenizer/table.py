"""A hash table that finds many keys at once: a dictionary for arrays."""

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)  # odd numbers with well mixed bits


class KeyTable:
    """Numbers keys 1, 2, 3, ... in the order they are added. A key has one or two columns of uint64.

    Open addressing with linear probing (Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm L),
    one step for all keys at a time. Each answer is compared with the key itself, so no answer is ever wrong.
    """

    def __init__(self, n_columns: int) -> None:
        self._n_keys = 0
        self._columns = [np.zeros(1, dtype=np.uint64) for _ in range(n_columns)]  # row 0 stands for no key
        self._resize(bits=10)

    def __len__(self) -> int:
        return self._n_keys

    def column(self, i: int, first: int = 1) -> NDArray[np.uint64]:
        """One column of the keys from number `first` on."""
        return self._columns[i][first : self._n_keys + 1]

    def find(self, *keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The number of each key, 0 for keys that are not in the table: (n,) from columns of (n,)."""
        slot = self._slots(keys)
        number = self._table.take(slot)
        at = np.flatnonzero(self._differ(number, keys))
        while True:
            at = at[number[at] != 0]
            if not at.size:
                return number
            slot[at] = slot[at] + 1 & self._mask
            number[at] = self._table[slot[at]]
            at = at[self._differ(number[at], [key[at] for key in keys])]

    def add(self, *keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Add keys that are not in the table and differ from each other; return their numbers."""
        first = self._n_keys + 1
        self._n_keys += len(keys[0])
        for i, key in enumerate(keys):
            self._columns[i] = grown(self._columns[i], self._n_keys + 1)
            self._columns[i][first : self._n_keys + 1] = key
        numbers = np.arange(first, self._n_keys + 1, dtype=np.int32)
        if 2 * self._n_keys > len(self._table):
            self._resize(bits=int(4 * self._n_keys).bit_length())
        else:
            self._place(numbers, self._slots(keys))
        return numbers

    def _differ(
        self, number: NDArray[np.int32], keys: tuple[NDArray[np.uint64], ...] | list[NDArray[np.uint64]]
    ) -> NDArray[np.bool_]:
        differ: NDArray[np.bool_] = self._columns[0].take(number) != keys[0]
        for column, key in zip(self._columns[1:], keys[1:], strict=True):
            differ |= column.take(number) != key
        return differ

    def _slots(self, keys: tuple[NDArray[np.uint64], ...]) -> NDArray[np.intp]:
        """Where to look first: the top bits of a multiplicative hash."""
        mixed = keys[0] * _MULTIPLIERS[0]
        for multiplier, key in zip(_MULTIPLIERS[1:], keys[1:], strict=False):
            mixed ^= key * multiplier
        mixed *= _MULTIPLIERS[0]
        mixed >>= self._shift
        slots: NDArray[np.intp] = mixed.view(np.intp)
        return slots

    def _resize(self, bits: int) -> None:
        self._table = np.zeros(1 << bits, dtype=np.int32)
        self._mask, self._shift = (1 << bits) - 1, np.uint64(64 - bits)
        numbers = np.arange(1, self._n_keys + 1, dtype=np.int32)
        self._place(numbers, self._slots(tuple(self.column(i) for i in range(len(self._columns)))))

    def _place(self, number: NDArray[np.int32], slot: NDArray[np.intp]) -> None:
        while number.size:
            free = self._table[slot] == 0
            self._table[slot[free]] = number[free]  # if several keys want a slot, one gets it
            waiting = self._table[slot] != number
            number, slot = number[waiting], slot[waiting] + 1 & self._mask


def grown(array: NDArray, length: int) -> NDArray:  # type: ignore[type-arg]
    """The array, or if it has fewer than `length` items, a copy with twice that length, filled up with zeros."""
    if len(array) >= length:
        return array
    # `.type`, because NumPy's fast paths do not recognise a dtype object that came from another process.
    larger = np.zeros(2 * length, dtype=array.dtype.type)
    larger[: len(array)] = array
    return larger
