"""Byte-pair merges of long words: the pairs of one rank are merged at all their places at once.

A word of a million letters has many merges but few ranks. So the ranks are taken in order, and each is one step over
arrays. Each symbol is linked to its neighbours, and each rank has a list of the places where its pair has appeared: at
the start, or at a merge. So the time grows with the number of merges.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ranks = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.int32]]

GAP = np.iinfo(np.int32).max  # stands between words; no pair holds it
GONE = -1  # the symbol of a place that a merge has joined to another
NO_RANK = np.iinfo(np.int32).max


def merge_by_rank(
    symbol: NDArray[np.int32], ranks: Ranks, products: NDArray[np.int32], at_once: NDArray[np.bool_]
) -> bool:
    """Merge words in place; True if nothing is left to merge.

    It stops early, with the words half merged, before a rank whose merges must be done one by one.

    Args:
        symbol: the words, with `GAP` after each; merged places become `GONE`: (n,).
        ranks: gives the rank of each pair of left and right symbols, `NO_RANK` for those that are not merged.
        products: the symbol that each pair becomes, by rank.
        at_once: whether all pairs of a rank may be merged at once: no pair with its product has a lower rank.
    """
    n = len(symbol)
    after, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    rank_at = np.full(n, NO_RANK, dtype=np.int32)  # of the pair that starts at each place
    places: dict[int, list[NDArray[np.intp]]] = {}  # where the pair of each rank has appeared
    waiting: list[int] = []  # the ranks in `places`, as a heap

    def look(at: NDArray[np.intp]) -> None:
        """Note the pairs that start at these places."""
        rank = rank_at[at] = ranks(symbol[at], symbol[after[at]])
        merged = rank < NO_RANK
        at, rank = at[merged], rank[merged]
        if not len(at):
            return
        order = np.argsort(rank, kind="stable")
        at, rank = at[order], rank[order]
        starts = np.flatnonzero(np.append(True, rank[1:] != rank[:-1]))
        parts = pairwise([*starts.tolist(), len(at)])
        for one, (start, end) in zip(rank[starts].tolist(), parts, strict=True):
            if one not in places:
                places[one] = []
                heappush(waiting, one)
            places[one].append(at[start:end])

    look(np.arange(n - 1))
    while waiting:
        rank = heappop(waiting)
        at = np.sort(np.concatenate(places.pop(rank)))
        at = at[rank_at[at] == rank]  # other merges have destroyed the rest
        if not len(at):
            continue
        if not at_once[rank]:
            return False
        second = after[at]
        kept = every_other(second[:-1] == at[1:])
        at, second = at[kept], second[kept]
        symbol[at], symbol[second], rank_at[second] = products[rank], GONE, NO_RANK
        after[at] = third = after[second]
        before[third] = at
        left = before[at]
        look(np.concatenate([at, left[(left >= 0) & np.append(True, left[1:] != at[:-1])]]))
    return True


def every_other(touching: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pairs to merge where neighbours share a symbol ("aaa"): the first, third, ... of each run.

    Args:
        touching: whether pair i + 1 shares a symbol with pair i: (n - 1,).
    """
    place = np.arange(len(touching) + 1)
    run_start = np.maximum.accumulate(np.where(np.append(False, touching), 0, place))
    kept: NDArray[np.bool_] = (place - run_start) % 2 == 0
    return kept
