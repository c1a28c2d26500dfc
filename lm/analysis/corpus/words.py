"""Texts as numbered words."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int32, Int64
from numpy.typing import NDArray

from lm.analysis.texts import words

END = -1  # stands after the last word of each document


@dataclass(frozen=True)
class WordArray:
    """The words of several documents as numbers, with `END` after each document.

    Attributes:
        ids: (n_words + n_documents,).
    """

    ids: Int32[np.ndarray, " n"]

    @cached_property
    def ends(self) -> Int64[np.ndarray, " documents"]:
        """Where each document has its `END`."""
        return np.flatnonzero(self.ids == END)

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " documents"]:
        """The number of words of each document."""
        return np.diff(self.ends, prepend=-1) - 1

    def documents(self) -> list[NDArray[np.int32]]:
        """The words of each document, without its `END`: views, nothing is copied."""
        return [self.ids[end - length : end] for end, length in zip(self.ends, self.lengths, strict=True)]

    def part(self, first: int, last: int) -> "WordArray":
        """The documents from number `first` to before `last`."""
        starts = np.concatenate([[0], self.ends + 1])
        last = min(last, len(self.ends))
        return WordArray(self.ids[starts[min(first, last)] : starts[last]])


class Vocabulary:
    """Gives each word a number, in the order in which the words are first met. See `words` for what a word is."""

    def __init__(self) -> None:
        self._number: defaultdict[str, int] = defaultdict()
        self._number.default_factory = self._number.__len__

    def __len__(self) -> int:
        return len(self._number)

    def number(self, texts: Iterable[str]) -> WordArray:
        """The words of texts as numbers; words that are new get new ones."""
        number = self._number.__getitem__
        parts = [np.array([*map(number, words(text)), END], dtype=np.int32) for text in texts]
        return WordArray(np.concatenate([np.empty(0, np.int32), *parts]))

    @cached_property
    def _spelled(self) -> list[str]:
        return list(self._number)

    def spell(self, ids: Iterable[int]) -> str:
        """The words of these numbers, with blanks between them."""
        if len(self._spelled) < len(self._number):
            del self._spelled
        return " ".join(self._spelled[id] for id in ids)
