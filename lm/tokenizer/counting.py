"""How often each word of a corpus occurs. A tokenizer learns from these counts alone."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lm.corpus.text_file import BOUNDARY, Block, blocks
from lm.system.processes import map_in_order
from lm.tokenizer.splitting import last_cut
from lm.tokenizer.table import grown
from lm.tokenizer.words import WordIndex


class WordCounts(NamedTuple):
    """Distinct words and how often each occurs."""

    data: NDArray[np.uint8]  # the bytes of the words, one word after another: (n,)
    lengths: NDArray[np.intp]  # the number of bytes of each word, at least one: (n_words,)
    counts: NDArray[np.int64]  # (n_words,)


def count_file(path: Path, n_processes: int, progress: Callable[[int], object] = lambda n_bytes: None) -> WordCounts:
    """The words of a corpus file, counted by several processes.

    Memory grows with the number of distinct words, not with the file. `progress` is called with the number of bytes
    that each step has read.
    """
    total = _Counter()
    # Each process counts the blocks it gets. When it gets None at the end, it returns all its counts.
    for answer in map_in_order(_Counter(), blocks(path, last_cut), n_processes, ask_at_end=True):
        if isinstance(answer, WordCounts):
            total.add(answer)
        else:
            progress(answer)
    return total.result()


def count_texts(texts: Iterable[str]) -> WordCounts:
    """The words of texts, counted. The texts must be short enough to be joined."""
    counter = _Counter()
    counter.count(BOUNDARY.join(text.encode() for text in texts))
    return counter.result()


class _Counter:
    """Counts words, one text after another."""

    def __init__(self) -> None:
        self._words = WordIndex()
        self._counts = np.zeros(1, dtype=np.int64)  # by number of the word

    def __call__(self, block: Block | None) -> int | WordCounts:
        """Count the words of a block, and return its size in bytes. Without a block, return all counts."""
        if block is None:
            return self.result()
        self.count(block.read())
        return block.end - block.start

    def count(self, text: bytes) -> None:
        """Count the words of a text in UTF-8, with `BOUNDARY` between documents."""
        numbers = self._words.number(text)
        self._counts = grown(self._counts, len(self._words) + 1)
        np.add.at(self._counts, numbers, 1)

    def add(self, other: WordCounts) -> None:
        """Add the counts of another counter."""
        numbers = self._words.number(other.data.tobytes(), np.cumsum(other.lengths) - other.lengths)
        self._counts = grown(self._counts, len(self._words) + 1)
        self._counts[numbers] += other.counts

    def result(self) -> WordCounts:
        """The counts so far, without those of boundaries."""
        data, lengths = self._words.spell()
        counts = self._counts[1 : len(self._words) + 1]
        is_word = data[np.cumsum(lengths) - lengths] != BOUNDARY[0]
        return WordCounts(data[np.repeat(is_word, lengths)], lengths[is_word], counts[is_word])
