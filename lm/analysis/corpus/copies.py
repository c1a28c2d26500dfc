"""What a text copies from other texts, word for word."""

import numpy as np
from jaxtyping import Float64, Int32, Int64

from lm.analysis.corpus.words import END, WordArray


def copied(texts: Int32[np.ndarray, " n"], source: Int32[np.ndarray, " m"]) -> Int64[np.ndarray, " n"]:
    """For each word, how many words from it on stand in a row in the source too, within one document.

    These are the matching statistics of Chang and Lawler 1994. Both arrays are as `WordArray.ids`. All places whose
    next words match are followed at once, a word further in each round: the places in the source that no text matches
    any more drop out, so that the work shrinks fast. Memory grows with the source, 32 bytes a word.
    """
    lengths = np.zeros(len(texts), np.int64)
    n_words = np.int64(max(texts.max(initial=0), source.max(initial=0)) + 1)
    here, there = np.arange(len(texts)), np.arange(len(source))  # places that match so far
    node, other = np.zeros(len(here), np.int64), np.zeros(len(there), np.int64)  # which words they have matched
    length = 0
    while len(here) and len(there):
        here, key = _next(texts, here, node, length, n_words)
        there, other_key = _next(source, there, other, length, n_words)
        keys, node = np.unique(key, return_inverse=True)
        there, other = _known(keys, there, other_key)
        matched = np.zeros(len(keys), bool)
        matched[other] = True
        here, node = here[matched[node]], node[matched[node]]
        length += 1
        lengths[here] = length
    return lengths


def novel_share(lengths: Int64[np.ndarray, " n"], texts: WordArray, n: int) -> Float64[np.ndarray, " documents"]:
    """Of each document, the share of its sequences of n words that the source has nowhere: NaN for a shorter one.

    `lengths` is what `copied` gives for these texts.
    """
    shares = np.full(len(texts.ends), np.nan)
    for document, (end, size) in enumerate(zip(texts.ends, texts.lengths, strict=True)):
        if size >= n:
            shares[document] = (lengths[end - size : end - n + 1] < n).mean()
    return shares


def longest_copy(lengths: Int64[np.ndarray, " n"], texts: WordArray) -> Int64[np.ndarray, " documents"]:
    """Of each document, the words of its longest copy."""
    spans = zip(texts.ends, texts.lengths, strict=True)
    return np.array([lengths[end - size : end].max(initial=0) for end, size in spans], np.int64)


def _next(
    ids: Int32[np.ndarray, " n"],
    places: Int64[np.ndarray, " k"],
    nodes: Int64[np.ndarray, " k"],
    length: int,
    n_words: np.int64,
) -> tuple[Int64[np.ndarray, " l"], Int64[np.ndarray, " l"]]:
    """The places that go on within their document, and a number for what they have matched and their next word."""
    word = ids[places + length]  # inside the array, because the document's END has not been passed yet
    goes_on = word != END
    return places[goes_on], nodes[goes_on] * n_words + word[goes_on]


def _known(
    keys: Int64[np.ndarray, " k"], places: Int64[np.ndarray, " n"], of_places: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " l"], Int64[np.ndarray, " l"]]:
    """The places whose key is one of the sorted `keys`, and the number of that key.

    A hash table with a slot for one key finds nearly all of them, three times as fast as a binary search.
    """
    if not len(keys):
        return places[:0], places[:0]
    bits = len(keys).bit_length() + 3
    table = np.zeros(2**bits, np.int32)
    table[_slots(keys, bits)] = np.arange(len(keys))
    number = table[_slots(of_places, bits)].astype(np.int64)
    found = keys[number] == of_places
    without_slot = np.flatnonzero(table[_slots(keys, bits)] != np.arange(len(keys)))  # another key has theirs
    if len(without_slot):
        rest = np.flatnonzero(~found)
        at = np.minimum(np.searchsorted(keys[without_slot], of_places[rest]), len(without_slot) - 1)
        number[rest] = without_slot[at]
        found[rest] = keys[number[rest]] == of_places[rest]
    return places[found], number[found]


def _slots(keys: Int64[np.ndarray, " n"], bits: int) -> np.ndarray:
    """A slot of 2**bits for each key, by multiplication with an odd number (Knuth, volume 3, section 6.4)."""
    slots: np.ndarray = (keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits)
    return slots
