"""Text to ids, word by word: each distinct word is merged once, then its ids are looked up in arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.merges import Merges
from lm.tokenizer.table import grown
from lm.tokenizer.words import WordIndex

Ids = NDArray[np.uint16] | NDArray[np.uint32]

# How much an encoder may remember: about 100 MB. Words without spaces may be long, so their bytes count too.
_MOST_WORDS = 2**20
_MOST_BYTES = 2**23


class Encoder:
    """Turns text into ids. It remembers the words it has seen, which makes it fast and never changes an id."""

    def __init__(
        self, merges: Merges, id_of_byte: NDArray[np.int32], boundary_id: int, dtype: np.dtype[np.unsignedinteger[Any]]
    ) -> None:
        """
        Args:
            merges: the merges of the tokenizer.
            id_of_byte: the id of each byte: (256,).
            boundary_id: the id of `BOUNDARY`.
            dtype: of the ids.
        """
        self._merges = merges
        self._id_of_byte = id_of_byte.copy()
        self._id_of_byte[BOUNDARY[0]] = boundary_id
        self._dtype = dtype
        self._forget()

    def encode(self, text: bytes) -> Ids:
        """The ids of a text in UTF-8, with the boundary's id for each `BOUNDARY`: (n,)."""
        n_known = len(self._words)
        words = self._words.number(text)
        if len(self._words) > n_known:
            self._learn(n_known + 1)
        ids = self._gather(words)
        if len(self._words) > _MOST_WORDS or self._n_bytes > _MOST_BYTES:
            self._forget()
        return ids

    def _forget(self) -> None:
        self._words = WordIndex()
        self._n_bytes = 0  # of all words, which never have more ids than bytes
        self._n_ids = 0
        self._ids = np.zeros(0, dtype=self._dtype)  # the ids of word 1, then of word 2, ...
        self._offset = np.zeros(1, dtype=np.int32)  # where the ids of each word begin, by number of the word
        self._count = np.zeros(1, dtype=np.int32)
        self._first = np.zeros(1, dtype=self._dtype)

    def _learn(self, first: int) -> None:
        """Merge the words from number `first` on."""
        data, lengths = self._words.spell(first)
        self._n_bytes += len(data)
        ids, counts = self._merges.merge_words(self._id_of_byte[data], lengths)
        n_words = len(self._words) + 1
        self._ids = grown(self._ids, self._n_ids + len(ids))
        self._ids[self._n_ids : self._n_ids + len(ids)] = ids
        self._offset, self._count, self._first = (grown(a, n_words) for a in (self._offset, self._count, self._first))
        offsets = self._n_ids + np.cumsum(counts) - counts
        self._offset[first:n_words] = offsets
        self._count[first:n_words] = counts
        self._first[first:n_words] = self._ids[offsets]
        self._n_ids += len(ids)

    def _gather(self, words: NDArray[np.int32]) -> Ids:
        """The ids of words, one after another."""
        count = self._count.take(words)
        end = np.cumsum(count)
        ids = np.empty(end[-1] if len(end) else 0, dtype=self._dtype)
        ids[end - count] = self._first.take(words)
        several = np.flatnonzero(count > 1)
        if several.size:
            # Copy the ids of those words except their first: `target` is where they go, `source` where they come from.
            more = count[several] - 1
            step = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
            target, source = end[several] - more, self._offset[words[several]] + 1
            ids[np.repeat(target, more) + step] = self._ids[np.repeat(source, more) + step]
        return ids
