"""Documents that are almost the same."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH

from lm.analysis.corpus.counts import hashes
from lm.analysis.corpus.words import END, WordArray

_SHINGLE = 5  # words in a row
_PERMUTATIONS = 64


class Pair(NamedTuple):
    """A document, a later one that is like it, and the share of their sequences of five words that stand in both."""

    first: int
    second: int
    alike: float


def near_duplicates(words: WordArray, threshold: float) -> list[Pair]:
    """The documents that nearly repeat an earlier one, each with that one, the most alike first.

    Their sequences of five words are alike to at least `threshold` (Jaccard). Only documents that repeat none are
    compared with later ones, as if all copies were removed on the way: so a document stands in one pair at most, and
    the work does not grow with the square of the copies. MinHash (Broder 1997) with 64 permutations finds pairs that
    may be alike, and each is then compared exactly. So no pair is wrong, but one near the threshold may be missing.
    Documents of fewer than five words are left out.
    """
    sets = _shingles(words)
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=_as_it_is, scheme="affine64")
    pairs = []
    for number, shingles in enumerate(sets):
        if not len(shingles):
            continue
        sketch = empty.copy()
        sketch.update_batch(shingles)
        found = [Pair(other, number, jaccard(sets[other], shingles)) for other in index.query(sketch)]
        nearest = max(found, key=lambda pair: (pair.alike, -pair.first), default=None)
        if nearest is not None and nearest.alike >= threshold:
            pairs.append(nearest)
        else:
            index.insert(number, sketch)
    return sorted(pairs, key=lambda pair: (-pair.alike, pair.first, pair.second))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """The share of the values of two sets, each without repeats, that stand in both."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def _shingles(words: WordArray) -> Sequence[np.ndarray]:
    """The different hashes of five words in a row of each document."""
    starts, values = hashes(words, _SHINGLE)
    document = np.cumsum(words.ids == END)[starts]
    cuts = np.searchsorted(document, np.arange(1, len(words.ends)))
    return [np.unique(part) for part in np.split(values, cuts)][: len(words.ends)]


def _as_it_is(value: np.uint64) -> np.uint64:
    return value
