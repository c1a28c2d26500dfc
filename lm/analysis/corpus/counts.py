"""How words are counted: frequency by rank, growth of the vocabulary, sequences of words, openings."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from lm.analysis.corpus.words import END, Vocabulary, WordArray
from lm.tokenizer.inspection import geometric

_POINTS = 60  # of a curve, evenly spaced on a log axis
_RANKS = (10, 1000)  # between which Zipf's exponent is fitted: the first words are grammar, the last ones chance


class PowerLaw(NamedTuple):
    """y = scale * x ** exponent, the straight line on log axes that fits best through points (least squares)."""

    exponent: float
    scale: float

    def __call__(self, x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The line at these places."""
        y: Float64[np.ndarray, " n"] = self.scale * x**self.exponent
        return y


def fit_power_law(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> PowerLaw | None:
    """The power law through points above 0: least squares of log y over log x. None for fewer than two places x."""
    if len(np.unique(x)) < 2:
        return None
    exponent, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(exponent), float(np.exp(intercept)))


def frequency_by_rank(words: WordArray) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Ranks, evenly spaced on a log axis, and how often the word of each rank stands in the text (Zipf 1949)."""
    ids = words.ids[words.ids != END]
    counts = np.sort(np.bincount(ids))[::-1]
    counts = counts[counts > 0]
    if not len(counts):
        return np.empty(0), np.empty(0)
    ranks = np.array(geometric(1, len(counts), _POINTS))
    return ranks.astype(np.float64), counts[ranks - 1].astype(np.float64)


def zipf_law(ranks: Float64[np.ndarray, " n"], counts: Float64[np.ndarray, " n"]) -> PowerLaw | None:
    """The law of frequency over rank, fitted from rank 10 to 1000. Zipf: the exponent is -1.

    The points are evenly spaced on the log axis, so that each decade of ranks has the same weight; without that, the
    many rare words would decide alone.
    """
    inside = (ranks >= _RANKS[0]) & (ranks <= _RANKS[1])
    return fit_power_law(ranks[inside], counts[inside])


def vocabulary_growth(words: WordArray) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Numbers of words read, evenly spaced on a log axis, and how many different ones have been met (Heaps 1978)."""
    ids = words.ids[words.ids != END]
    if not len(ids):
        return np.empty(0), np.empty(0)
    _, first = np.unique(ids, return_index=True)
    read = np.array(geometric(1, len(ids), _POINTS))
    return read.astype(np.float64), np.searchsorted(np.sort(first), read).astype(np.float64)


def heaps_law(read: Float64[np.ndarray, " n"], different: Float64[np.ndarray, " n"]) -> PowerLaw | None:
    """The law of different words over words read, fitted from 1,000 words on. English: an exponent of 0.4 to 0.6."""
    inside = read >= 1000
    return fit_power_law(read[inside], different[inside])


def hashes(words: WordArray, n: int) -> tuple[Int64[np.ndarray, " k"], np.ndarray]:
    """Where each sequence of n words starts that lies within one document, and its 64-bit hash.

    The hash is a polynomial of odd base modulo 2**64, whose bits are mixed at the end (Steele et al. 2014). Different
    sequences have the same one with a probability of about 2**-64 a pair.
    """
    ids = words.ids.astype(np.uint64) + np.uint64(2)
    n_starts = max(0, len(ids) - n + 1)
    value = np.zeros(n_starts, np.uint64)
    inside = np.ones(n_starts, bool)
    for shift in range(n):
        value = value * np.uint64(0x9E3779B97F4A7C15) + ids[shift : shift + n_starts]
        inside &= words.ids[shift : shift + n_starts] != END
    starts = np.flatnonzero(inside)
    return starts, _mix(value[starts])


def _mix(value: np.ndarray) -> np.ndarray:
    """Spread every bit over all 64: the last steps of SplitMix64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed


def commonest(words: WordArray, vocabulary: Vocabulary, n: int, count: int) -> list[tuple[str, int]]:
    """The sequences of n words that stand most often in the texts, and how often. Punctuation marks are words too.

    Among equally common ones, those met first stand first.
    """
    starts, values = hashes(words, n)
    different, counts = np.unique(values, return_counts=True)
    if not len(different):
        return []
    least = np.sort(counts)[-count:][0]  # only these are searched for, because a search for each is slow
    often = np.flatnonzero(np.isin(values, different[counts >= least]))
    _, first, counts = np.unique(values[often], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))[:count]
    places = starts[often[first[order]]]
    return [
        (vocabulary.spell(words.ids[place : place + n].tolist()), int(times))
        for place, times in zip(places, counts[order], strict=True)
    ]


def commonest_openings(texts: Iterable[str], n_words: int, count: int) -> list[tuple[str, int]]:
    """The commonest beginnings of so many words, as they are written, and how many texts begin so."""
    return Counter(" ".join(text.split(maxsplit=n_words)[:n_words]) for text in texts).most_common(count)
