"""Byte-pair merges applied to words: to one word in plain Python, to many words at once with arrays."""

from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lm.tokenizer.long_words import GAP, GONE, NO_RANK, every_other, merge_by_rank
from lm.tokenizer.table import KeyTable

_LONG = 128  # with this many symbols in a word, a heap is faster than rounds over arrays
_MANY = 2**15  # with this many symbols in long words, taking rank after rank is faster than a heap


class Merges:
    """Pairs of ids, each of which becomes one id; earlier pairs are merged first (Sennrich et al. 2015, section 3.2).

    Attributes:
        pairs: (left, right) in the order learned.
        products: the id that each pair becomes.
    """

    def __init__(self, pairs: list[tuple[int, int]], products: list[int]) -> None:
        self.pairs, self.products = pairs, products
        self._rank_of = {pair: rank for rank, pair in enumerate(pairs)}
        self._product = np.array(products, dtype=np.int32)
        self._table = KeyTable(1)
        columns = np.array(pairs, dtype=np.uint64).reshape(-1, 2)
        self._table.add(columns[:, 0] << np.uint64(32) | columns[:, 1])
        # All pairs of a rank may be merged at once, if only later merges use their product.
        # This holds unless two merges make the same token.
        used_at = {id: rank for rank, pair in reversed(list(enumerate(pairs))) for id in pair}
        self._at_once = np.array([used_at.get(id, NO_RANK) > rank for rank, id in enumerate(products)], dtype=np.bool_)
        self._ordered = bool(self._at_once.all())

    def merge_word(self, symbols: list[int]) -> list[int]:
        """The ids of one word. The leftmost pair of the lowest rank is merged again and again, until no pair is left.

        O(n log n) with a heap of pairs. The heap keeps pairs that a merge has destroyed; they are skipped later.
        """
        symbols = list(symbols)
        after = list(range(1, len(symbols) + 1))
        before = list(range(-1, len(symbols)))
        rank_of, end = self._rank_of, len(symbols)
        heap = [(rank, i, pair) for i, pair in enumerate(pairwise(symbols)) if (rank := rank_of.get(pair)) is not None]
        heapify(heap)
        while heap:
            rank, i, pair = heappop(heap)
            j = after[i]
            if j == end or (symbols[i], symbols[j]) != pair:
                continue
            symbols[i], symbols[j] = self.products[rank], -1
            after[i] = after[j]
            before[after[j]] = i
            for left, right in ((before[i], i), (i, after[i])):
                if left >= 0 and right < end:
                    pair = symbols[left], symbols[right]
                    if (new_rank := rank_of.get(pair)) is not None:
                        heappush(heap, (new_rank, left, pair))
        return [symbol for symbol in symbols if symbol >= 0]

    def merge_words(
        self, symbols: NDArray[np.int32], lengths: NDArray[np.intp]
    ) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
        """The ids of many words, one word after another (n,), and the number of ids of each word (n_words,).

        The arguments have the same form; no word is empty.
        """
        long = lengths >= _LONG
        in_long = np.repeat(long, lengths)
        ids = np.full(len(symbols), GONE, dtype=np.int32)
        ids[in_long] = self._merge_long_words(symbols[in_long], lengths[long])
        self._merge_in_rounds(symbols[~in_long], lengths[~long], np.flatnonzero(~in_long), ids)
        kept = ids != GONE
        starts = np.cumsum(lengths) - lengths
        return ids[kept], np.add.reduceat(kept, starts, dtype=np.intp) if len(starts) else lengths

    def _merge_long_words(self, ids: NDArray[np.int32], lengths: NDArray[np.intp]) -> NDArray[np.int32]:
        """The ids of words, among them `GONE` for each symbol that was merged to another."""
        ends = np.cumsum(lengths)
        if len(ids) >= _MANY:
            with_gaps = np.insert(ids, ends, GAP)
            finished = merge_by_rank(with_gaps, self._pair_ranks, self._product, self._at_once)
            ids = with_gaps[with_gaps != GAP]
            if finished:
                return ids
        for word in np.split(ids, ends[:-1]):
            merged = self.merge_word(word[word != GONE].tolist())
            word[: len(merged)], word[len(merged) :] = merged, GONE
        return ids

    def _merge_in_rounds(
        self, symbol: NDArray[np.int32], length: NDArray[np.intp], place: NDArray[np.intp], ids: NDArray[np.int32]
    ) -> None:
        """Merge words and write their ids to `ids`, at the places in `place`.

        In each round every word merges its pair of the lowest rank: at all places, or if the order may matter, only at
        the first place.
        """
        if not len(length):
            return
        last = np.cumsum(length) - 1
        rank = self._ranks(symbol, np.arange(len(symbol)), last)
        while True:
            lowest = np.minimum.reduceat(rank, last - length + 1)
            lowest_here = np.repeat(lowest, length)
            done = lowest_here == NO_RANK
            if done.any():
                ids[place[done]] = symbol[done]
                going = ~done
                symbol, place, rank, lowest_here = symbol[going], place[going], rank[going], lowest_here[going]
                length = length[lowest < NO_RANK]
                if not len(length):
                    return
                last = np.cumsum(length) - 1
            left = np.flatnonzero(rank == lowest_here)
            if self._ordered:
                left = left[every_other(left[1:] == left[:-1] + 1)]
            else:
                word = np.searchsorted(last, left)
                left = left[np.append(True, word[1:] != word[:-1])]
            symbol[left] = self._product[rank[left]]
            kept = np.ones(len(symbol), dtype=bool)
            kept[left + 1] = False
            length = np.add.reduceat(kept, last - length + 1, dtype=np.intp)
            last = np.cumsum(length) - 1
            symbol, place, rank = symbol[kept], place[kept], rank[kept]
            merged = left - np.arange(len(left))  # their places after the right halves are removed
            changed = np.concatenate([merged, merged[merged > 0] - 1])
            rank[changed] = self._ranks(symbol, changed, last)

    def _ranks(self, symbol: NDArray[np.int32], at: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.int32]:
        """The rank of the pair that starts at each of the places `at`; the last symbol of a word starts no pair."""
        rank = self._pair_ranks(symbol[at], symbol.take(at + 1, mode="clip"))
        is_last = np.zeros(len(symbol), dtype=bool)
        is_last[last] = True
        rank[is_last[at]] = NO_RANK
        return rank

    def _pair_ranks(self, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int32]:
        """The rank of each pair."""
        rank = self._table.find(left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)) - 1
        rank[rank < 0] = NO_RANK
        return rank
