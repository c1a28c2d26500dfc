"""Learns merges from counted words. The most frequent pair is merged next; counts are updated, never recounted.

All distinct words stand one after another in one array of symbols, and each symbol is linked to its neighbours. A pair
appears at a merge (or at the start) with all its occurrences at once. After that it can only lose occurrences. So a
merge needs only the list of occurrences of its pair, without the lost ones, and the symbols left and right of them.

A pair with many occurrences is merged with array operations. Most pairs have a few, and for them a loop is faster.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lm.tokenizer.counting import WordCounts
from lm.tokenizer.long_words import every_other
from lm.tokenizer.table import grown

Ties = Literal["huggingface", "lexicographic"]

_NONE = -1
_HOT = 2048  # number of pairs that are put in order at a time; all others are rarer
_FEW = 24  # with so many occurrences, a loop takes as long as array operations


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
        # Plain Python reads and writes single numbers faster through these.
        arrays = self._symbol, self._next, self._previous, self._pair, self._word, self._word_count
        self._cells = [array.data for array in arrays]
        # For each pair: its symbols, the start and end of its part of `_occurrences`, the pair that keeps its count
        # (nearly always itself), its count, and its count in the queue. Pair 0 means that there is no pair.
        self._n_pairs, self._n_occurrences = 1, 0
        self._columns = np.zeros((7, 0), dtype=np.int64)
        self._resize_columns(1)
        self._occurrences = np.zeros(0, dtype=np.int32)
        self._shared: set[int] = set()  # pairs that also keep the count of other pairs
        # The queue has two parts: a heap of the pairs that had a count of at least `_threshold`, and all other pairs.
        self._heap: list[tuple[tuple[int, ...], int]] = []
        self._threshold = np.iinfo(np.int64).max
        places = np.flatnonzero(self._next != _NONE).astype(np.int32)
        self._queue(self._add_pairs(places, data[places].astype(np.uint16) << 8 | data[places + 1]).tolist())

    def merges(self, min_count: int = 1) -> Iterator[Merge]:
        """The merges, in the order learned, as long as a pair occurs `min_count` times in the text."""
        while (pair := self._pop(min_count)) is not None:
            left, right = self._left_of[pair], self._right_of[pair]
            count = self._count_of[self._keeper_of[pair]]
            token = self.tokens[left] + self.tokens[right]
            product = self._id_of.get(token, len(self.tokens))
            is_new = product == len(self.tokens)
            if is_new:
                self._id_of[token] = product
                self.tokens.append(token)
            few = self._end_of[pair] - self._start_of[pair] < _FEW
            if few and is_new and self._keeper_of[pair] not in self._shared:
                self._merge_few(pair, product)
            else:
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
            self._queue(self._add_pairs(places, self._keys(places)).tolist())
        else:
            self._add_pairs_again(np.sort(places))

    def _merge_few(self, pair: int, product: int) -> None:
        """What `_merge` does, for a new product, one place after another."""
        symbol, following, previous, pair_at, word, word_count = self._cells
        count, keeper = self._count_of, self._keeper_of
        merged = []
        for at in self._occurrences[self._start_of[pair] : self._end_of[pair]].tolist():
            if pair_at[at] != pair:
                continue
            merged.append(at)
            second = following[at]
            before, third = previous[at], following[second]
            n = word_count[word[at]]
            if before != _NONE:
                count[keeper[pair_at[before]]] -= n
            if third != _NONE:
                count[keeper[pair_at[second]]] -= n
                previous[third] = at
            pair_at[at] = pair_at[second] = 0
            symbol[at], symbol[second] = product, _NONE
            following[at] = third
        if not self._huggingface:
            count[pair] = 0
        places: dict[tuple[int, int], list[int]] = {}  # of the new pairs
        for at in merged:
            before, third = previous[at], following[at]
            if before != _NONE and pair_at[before]:  # 0 where another pair was merged
                places.setdefault((symbol[before], product), []).append(before)
            if third != _NONE:
                places.setdefault((product, symbol[third]), []).append(at)
        for (left, right), born in sorted(places.items()):
            self._add_pair(left, right, born)

    def _add_pair(self, left: int, right: int, places: list[int]) -> None:
        """Add a pair that starts at these places, and put it into the queue."""
        pair_at, word, word_count = self._cells[3:]
        pair, self._n_pairs = self._n_pairs, self._n_pairs + 1
        if self._n_pairs > len(self._count):
            self._resize_columns(2 * self._n_pairs)
        start, self._n_occurrences = self._n_occurrences, self._n_occurrences + len(places)
        self._occurrences = grown(self._occurrences, self._n_occurrences)
        self._occurrences[start : self._n_occurrences] = places
        count = 0
        for at in places:
            pair_at[at] = pair
            count += word_count[word[at]]
        self._left_of[pair], self._right_of[pair] = left, right
        self._start_of[pair], self._end_of[pair] = start, self._n_occurrences
        self._keeper_of[pair], self._count_of[pair] = pair, count
        self._queue([pair])

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
        cells = [column.data for column in self._columns]
        self._left_of, self._right_of, self._start_of, self._end_of = cells[:4]
        self._keeper_of, self._count_of, self._queued_of = cells[4:]

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
        self._queue(pairs.tolist())

    def _queue(self, pairs: Iterable[int]) -> None:
        """Put pairs into the queue with the counts they have now."""
        for pair in pairs:
            count = self._count_of[self._keeper_of[pair]]
            if count >= self._threshold:
                heappush(self._heap, (self._order(pair, count), pair))
            else:
                self._queued_of[pair] = count

    def _pop(self, min_count: int) -> int | None:
        """Take the pair to merge next out of the queue; None when no pair occurs `min_count` times."""
        while self._heap or self._fill_heap():
            order, pair = heappop(self._heap)
            count = self._count_of[self._keeper_of[pair]]
            if count == -order[0]:
                return pair if count >= min_count else None
            self._queue([pair])  # it has lost occurrences since it was queued
        return None

    def _fill_heap(self) -> bool:
        """Move the most frequent pairs that wait to the heap; False when no pair waits."""
        waiting = self._queued[: self._n_pairs]
        n_hot = min(_HOT, int(np.count_nonzero(waiting)))
        if n_hot == 0:
            return False
        self._threshold = int(np.partition(waiting, -n_hot)[-n_hot])
        pairs = np.flatnonzero(waiting >= self._threshold)
        self._heap = [
            (self._order(pair, count), pair)
            for pair, count in zip(pairs.tolist(), waiting[pairs].tolist(), strict=True)
        ]
        waiting[pairs] = 0
        heapify(self._heap)
        return True

    def _order(self, pair: int, count: int) -> tuple[int, ...]:
        """The sort key of a pair that is queued with this count. The lowest key is merged first."""
        left, right = self._left_of[pair], self._right_of[pair]
        if self._huggingface:
            return -count, left, right
        # Greatest bytes first: a byte b becomes 255 - b, and the final 256 puts a token before its own prefixes.
        return -count, *(rank for id in (left, right) for rank in (*(255 - byte for byte in self.tokens[id]), 256))
