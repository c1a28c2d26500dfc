"""Learns merges from counted words. The most frequent pair is merged next; counts are updated, never recounted.

All distinct words stand one after another in one array of symbols, and each symbol is linked to its neighbours. A pair
appears at a merge (or at the start) with all its occurrences at once. After that it can only lose occurrences. So a
merge needs only the list of occurrences of its pair, without the lost ones, and the symbols left and right of them.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lm.tokenizer.counting import WordCounts
from lm.tokenizer.long_words import every_other
from lm.tokenizer.table import grown

Ties = Literal["huggingface", "lexicographic"]

_NONE = -1
_HOT = 2048  # number of pairs in which the most frequent one is searched; all others are rarer


class Merge(NamedTuple):
    """One merge as it was learned."""

    pair: tuple[int, int]
    product: int
    frequency: int  # how often the pair occurred in the text


class MergeTrainer:
    """Learns merges from words and their counts (Sennrich et al. 2015, algorithm 1).

    Among equally frequent pairs, the pair with the lowest ids comes first, as in Hugging Face `tokenizers`, or the pair
    with the greatest bytes: the left tokens are compared first, then the right tokens.
    """

    def __init__(self, words: WordCounts, tokens: Sequence[bytes], ties: Ties) -> None:
        """Start with words of single bytes.

        Args:
            words: the words of a text and how often each occurs.
            tokens: the bytes of each token, by id. Every single byte must be a token.
            ties: the order of pairs that are equally frequent.
        """
        data, lengths, counts = words
        self.tokens = list(tokens)
        self._id_of = {token: id for id, token in enumerate(tokens)}
        self._huggingface = ties == "huggingface"
        ids = np.array([self._id_of[bytes([byte])] for byte in range(256)], dtype=np.int32)
        n, ends = len(data), np.cumsum(lengths)
        # For each place: its symbol, the places of its neighbours in the word, its word, and the number of the pair
        # that starts here. For each word: how often it occurs in the text.
        self._symbol = ids[data]
        self._next = np.arange(1, n + 1, dtype=np.int32)
        self._next[ends - 1] = _NONE
        self._previous = np.arange(-1, n - 1, dtype=np.int32)
        self._previous[ends - lengths] = _NONE
        self._word = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        self._word_count = counts
        self._pair = np.zeros(n, dtype=np.int32)
        # For each pair: its symbols, the start and end of its part of `_occurrences`, the pair that keeps its count
        # (nearly always itself), its count, and its count in the queue. Pair 0 means that there is no pair.
        self._n_pairs, self._n_occurrences = 1, 0
        self._columns = np.zeros((7, 0), dtype=np.int64)
        self._resize_columns(1)
        self._occurrences = np.zeros(0, dtype=np.int32)
        self._shared: set[int] = set()  # pairs that also keep the count of other pairs
        # The queue has three parts: the pairs with the highest count, in order; the pairs with a count of at least
        # `_threshold`; all other pairs.
        self._bucket: list[tuple[Any, int]] = []
        self._level = self._threshold = np.iinfo(np.int64).max
        self._hot = np.zeros(0, dtype=np.intp)
        places = np.flatnonzero(self._next != _NONE).astype(np.int32)
        self._queue(self._add_pairs(places, data[places].astype(np.uint16) << 8 | data[places + 1]))

    def merges(self, min_count: int = 1) -> Iterator[Merge]:
        """The merges, in the order learned, as long as a pair occurs `min_count` times in the text."""
        while (pair := self._pop(min_count)) is not None:
            left, right = int(self._left[pair]), int(self._right[pair])
            count = int(self._count[self._keeper[pair]])
            token = self.tokens[left] + self.tokens[right]
            product = self._id_of.get(token, len(self.tokens))
            is_new = product == len(self.tokens)
            if is_new:
                self._id_of[token] = product
                self.tokens.append(token)
            self._merge(pair, product, is_new)
            yield Merge((left, right), product, count)

    def _merge(self, pair: int, product: int, is_new: bool) -> None:
        """Replace a pair by its product at every place, and update the pairs left and right of it."""
        at = self._places(pair)
        second = self._next[at]
        if self._left[pair] == self._right[pair]:
            kept = every_other(second[:-1] == at[1:])
            at, second = at[kept], second[kept]
        before, third = self._previous[at], self._next[second]
        self._symbol[second] = _NONE
        # The symbol before may be the second half of another occurrence. The pair in between is lost once, not twice.
        has_left = (before != _NONE) & (self._symbol[before] != _NONE)
        has_right = third != _NONE
        before, heads = before[has_left], at[has_right]
        lost = np.concatenate([before, second[has_right]])
        np.subtract.at(self._count, self._keeper[self._pair[lost]], self._word_count[self._word[lost]])
        if not self._huggingface:
            self._count[pair] = 0
        self._pair[at] = self._pair[second] = 0
        self._symbol[at] = product
        self._next[at] = third
        self._previous[third[has_right]] = heads
        places = np.concatenate([before, heads])
        if is_new:
            self._queue(self._add_pairs(places, self._keys(places)))
        else:
            self._add_pairs_again(np.sort(places))

    def _places(self, pair: int) -> NDArray[np.int32]:
        """The places where a pair occurs now, ascending."""
        born = self._occurrences[self._start[pair] : self._end[pair]]
        keeper = int(self._keeper[pair])
        if keeper not in self._shared:
            alive: NDArray[np.int32] = born[self._pair[born] == pair]
            return alive
        # Hugging Face's trainer remembers words, not places: it merges all occurrences in the words of this pair.
        same = np.flatnonzero(self._keeper[: self._n_pairs] == keeper)
        places = np.sort(np.concatenate([self._occurrences[self._start[i] : self._end[i]] for i in same]))
        there: NDArray[np.int32] = places[np.isin(self._pair[places], same)]
        return there[np.isin(self._word[there], self._word[born])]

    def _keys(self, places: NDArray[np.int32]) -> NDArray[np.int64]:
        """The pair of symbols that starts at each place, as one number."""
        keys: NDArray[np.int64] = self._symbol[places].astype(np.int64) << 32 | self._symbol[self._next[places]]
        return keys

    def _add_pairs(self, places: NDArray[np.int32], keys: NDArray[Any]) -> NDArray[np.intp]:
        """Add the pairs that start at these places, and return their numbers. None of them may exist already."""
        if not len(places):
            return np.zeros(0, dtype=np.intp)
        order = np.argsort(keys, kind="stable")
        places, keys = places[order], keys[order]
        del order  # because at the start it is one of the largest arrays
        is_first = np.ones(len(keys), dtype=bool)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        starts = np.flatnonzero(is_first)
        offset, self._n_occurrences = self._n_occurrences, self._n_occurrences + len(places)
        self._occurrences = grown(self._occurrences, self._n_occurrences)
        self._occurrences[offset : self._n_occurrences] = places

        first, self._n_pairs = self._n_pairs, self._n_pairs + len(starts)
        if self._n_pairs > len(self._count):
            self._resize_columns(2 * self._n_pairs)
        pairs = np.arange(first, self._n_pairs)
        heads = places[starts]
        self._left[pairs] = self._symbol[heads]
        self._right[pairs] = self._symbol[self._next[heads]]
        self._start[pairs] = starts + offset
        self._end[pairs] = np.append(starts[1:], len(places)) + offset
        self._keeper[pairs] = pairs
        self._count[pairs] = np.add.reduceat(self._word_count[self._word[places]], starts)
        self._pair[places] = np.cumsum(is_first, dtype=np.int32) + np.int32(first - 1)
        return pairs

    def _resize_columns(self, n_pairs: int) -> None:
        old = self._columns
        self._columns = np.zeros((len(old), n_pairs), dtype=old.dtype)
        self._columns[:, : old.shape[1]] = old
        self._left, self._right, self._start, self._end, self._keeper, self._count, self._queued = self._columns

    def _add_pairs_again(self, places: NDArray[np.int32]) -> None:
        """Add pairs that may exist already, because another merge made the same token ("==" + "=" and "=" + "==").

        Hugging Face's trainer queues the new occurrences apart from the old ones, with a count of both together.
        """
        keys = np.unique(self._keys(places))
        known = self._left[: self._n_pairs] << 32 | self._right[: self._n_pairs]
        old = np.flatnonzero(np.isin(known, keys))
        if not self._huggingface:
            places = np.sort(np.concatenate([places, *(self._places(pair) for pair in old.tolist())]))
            self._count[old] = self._queued[old] = 0
        pairs = self._add_pairs(places, self._keys(places))
        if self._huggingface:
            for pair in pairs.tolist():
                same = old[known[old] == self._left[pair] << 32 | self._right[pair]]
                if same.size:
                    self._count[pair] += self._count[self._keeper[same[0]]]
                    self._keeper[same] = pair
                    self._shared.add(pair)
        self._queue(pairs)

    def _queue(self, pairs: NDArray[np.intp]) -> None:
        """Put new pairs into the queue with their counts."""
        counts = self._count[pairs]
        now = counts >= self._level
        for pair, count in zip(pairs[now].tolist(), counts[now].tolist(), strict=True):
            heappush(self._bucket, (self._order(pair, count), pair))
        self._queued[pairs] = np.where(now, 0, counts)
        self._hot = np.concatenate([self._hot, pairs[counts >= self._threshold]])

    def _pop(self, min_count: int) -> int | None:
        """Take the pair to merge next out of the queue; None when no pair occurs `min_count` times."""
        while True:
            while self._bucket:
                _, pair = heappop(self._bucket)
                count = self._count[self._keeper[pair]]
                if count >= self._level:
                    return pair
                self._queued[pair] = count  # the pair has lost occurrences since it was queued
            if not self._fill_bucket(min_count):
                return None

    def _fill_bucket(self, min_count: int) -> bool:
        """Put all pairs with the highest count into the bucket, in order; False when none occurs `min_count` times."""
        queued = self._queued[self._hot]
        if not queued.any() or queued.max() < self._threshold:
            waiting = self._queued[: self._n_pairs]
            n_hot = min(_HOT, int(np.count_nonzero(waiting)))
            if n_hot == 0:
                return False
            self._threshold = int(np.partition(waiting, -n_hot)[-n_hot])
            self._hot = np.flatnonzero(waiting >= self._threshold)
            queued = waiting[self._hot]
        self._level = int(queued.max())
        if self._level < min_count:
            return False
        pairs = self._hot[queued == self._level]
        self._queued[pairs] = 0
        self._bucket = [(self._order(pair, self._level), pair) for pair in pairs.tolist()]
        heapify(self._bucket)
        return True

    def _order(self, pair: int, count: int) -> Any:
        """The sort key of a pair that is queued with this count. The lowest key is merged first."""
        left, right = int(self._left[pair]), int(self._right[pair])
        if self._huggingface:
            return -count, left, right
        # Greatest bytes first: a byte b becomes 255 - b, and the final 256 puts a token before its own prefixes.
        return -count, *([*(255 - byte for byte in self.tokens[id]), 256] for id in (left, right))
