"""Tests of lm/tokenizer/merges.py."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import models

from lm.tokenizer import merges as module
from lm.tokenizer.long_words import every_other
from lm.tokenizer.merges import Merges

LETTERS = "abc"  # few, so that pairs overlap, repeat and make the same product in two ways

Spelled = list[tuple[str, str]]


@st.composite
def learned(draw: st.DrawFn) -> Spelled:
    """Merges as they may be learned: each of tokens that are there, some of which make what another one has made."""
    tokens = list(LETTERS)
    pairs: dict[tuple[str, str], None] = {}
    for _ in range(draw(st.integers(0, 12))):
        pair = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        pairs[pair] = None
        if "".join(pair) not in tokens:
            tokens.append("".join(pair))
    return list(pairs)


# A file from elsewhere may have them in any order, and some twice.
shuffled = learned().flatmap(lambda pairs: st.permutations(pairs + pairs[:2]))
words = st.text(LETTERS, min_size=1, max_size=12) | st.builds(
    lambda part, times, end: part * times + end,
    st.text(LETTERS, min_size=1, max_size=4),
    st.integers(1, 40),
    st.text(LETTERS, max_size=2),
)


def ids_of(pairs: Spelled) -> dict[str, int]:
    return {token: id for id, token in enumerate(dict.fromkeys([*LETTERS, *map("".join, pairs)]))}


def merges_of(pairs: Spelled) -> Merges:
    id_of = ids_of(pairs)
    return Merges(
        [(id_of[left], id_of[right]) for left, right in pairs], [id_of[left + right] for left, right in pairs]
    )


def merge_all(merges: Merges, words: Sequence[Sequence[int]]) -> list[list[int]]:
    symbols = np.array([symbol for word in words for symbol in word], dtype=np.int32)
    ids, lengths = merges.merge_words(symbols, np.array([len(word) for word in words], dtype=np.intp))
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths))[:-1]]


def by_the_textbook(pairs: list[tuple[int, int]], products: list[int], word: list[int]) -> list[int]:
    """Look at all pairs, merge the first of those of the lowest rank, and so on."""
    rank_of = {pair: rank for rank, pair in enumerate(pairs)}
    word = list(word)
    while found := [(rank_of[pair], i) for i, pair in enumerate(pairwise(word)) if pair in rank_of]:
        rank, i = min(found)
        word[i : i + 2] = [products[rank]]
    return word


def by_hugging_face(pairs: Spelled, words: list[str]) -> list[list[int]]:
    tokenizer = tokenizers.Tokenizer(models.BPE(ids_of(pairs), pairs))
    return [tokenizer.encode(word).ids for word in words]


def check(pairs: Spelled, words: list[str], long: int) -> None:
    """All ways to merge words give the same ids; those of `long` letters are merged by a heap, or rank by rank."""
    merges, id_of = merges_of(pairs), ids_of(pairs)
    symbols = [[id_of[letter] for letter in word] for word in words]
    expected = [by_the_textbook(merges.pairs, merges.products, word) for word in symbols]
    assert [merges.merge_word(word) for word in symbols] == expected
    assert by_hugging_face(pairs, words) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONG", long)
        assert merge_all(merges, symbols) == expected
        patch.setattr(module, "_MANY", 0)
        assert merge_all(merges, symbols) == expected


@given(learned(), st.lists(words, max_size=8), st.integers(1, 50))
@example([("b", "c"), ("a", "b"), ("ab", "c"), ("abc", "a"), ("a", "bc")], ["abcabc"], 50)
@example([("a", "a"), ("aa", "a"), ("aa", "aa")], ["a" * n for n in range(1, 40)], 20)
@example([("a", "b"), ("b", "a"), ("ab", "ab"), ("a", "ab")], ["ab" * n + "a" for n in range(1, 20)], 20)
def test_merged_words_are_those_of_the_textbook_and_of_hugging_face(
    pairs: Spelled, words: list[str], long: int
) -> None:
    check(pairs, words, long)


@given(shuffled, st.lists(words, max_size=8), st.integers(1, 50))
@example([("aa", "a"), ("a", "a")], ["a" * n for n in range(1, 20)], 10)
@example([("ab", "c"), ("b", "c"), ("a", "b")], ["abc", "abcabc"], 10)
@example([("a", "b"), ("b", "c"), ("a", "b")], ["abc", "bcab"], 10)
def test_merges_in_any_order_do_as_hugging_face_does(pairs: Spelled, words: list[str], long: int) -> None:
    check(pairs, words, long)


@pytest.mark.parametrize("length", [1, 2, 3, 127, 128, 129, 1_000])
def test_words_of_every_length_are_merged_alike(length: int) -> None:
    # 128 letters are where the heap takes over.
    pairs = [("a", "a"), ("aa", "a"), ("a", "b"), ("aa", "aa"), ("aaaa", "ab"), ("b", "b")]
    check(pairs, ["a" * length, "ab" * length, ("aaab" * length)[:length]], module._LONG)


def test_very_long_words_have_the_ids_of_hugging_face_and_need_no_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [("a", "b"), ("a", "a"), ("aa", "aa"), ("c", "ab"), ("aa", "b"), ("b", "b"), ("aaaa", "aaaa"), ("bb", "bb")]
    words = ["a" * 20_001, "abc" * 9_000, "ab", "aab" * 2_000 + "b" * 1_001 + "ca" * 2_000]
    monkeypatch.setattr(Merges, "merge_word", None)
    merged = merge_all(merges_of(pairs), [[ids_of(pairs)[letter] for letter in word] for word in words])
    assert merged == by_hugging_face(pairs, words)


def test_words_half_merged_by_ranks_are_finished_by_the_heap() -> None:
    # Two merges make "aaa". The second of them makes pairs that come before it.
    pairs = [("b", "b"), ("aa", "a"), ("aaa", "b"), ("a", "a"), ("a", "aa")]
    merges = merges_of(pairs)
    assert merges._at_once.tolist() == [True, True, True, False, False]
    check(pairs, ["bbaaabb" * 30, "aaab" * 50, "bb"], 20)


def test_golden_merges_of_runs() -> None:
    # Of pairs that share a letter the first is merged, then the third: aaa is aa a, never a aa.
    merges = merges_of([("a", "a"), ("b", "a"), ("aa", "aa")])  # a 0, b 1, c 2, aa 3, ba 4, aaaa 5
    runs = [[0], [0, 0], [0, 0, 0], [0] * 4, [0] * 7, [1, 0, 0], [1, 0, 0, 0], [0, 0, 2, 0, 0]]
    merged = [[0], [3], [3, 0], [5], [5, 3, 0], [1, 3], [1, 3, 0], [3, 2, 3]]
    assert merge_all(merges, runs) == merged
    assert [merges.merge_word(word) for word in runs] == merged


def test_no_merge_crosses_words() -> None:
    merges = merges_of([("a", "b"), ("a", "a"), ("b", "a")])
    assert merge_all(merges, [[0], [1], [0], [0, 1], [1, 0], [0], [1]]) == [[0], [1], [0], [3], [5], [0], [1]]


def test_without_words_or_without_merges_nothing_is_merged() -> None:
    assert merge_all(merges_of([("a", "b")]), []) == []
    assert merge_all(merges_of([]), [[0, 1], [2]]) == [[0, 1], [2]]


def test_the_words_that_are_given_stay_as_they_are() -> None:
    merges = merges_of([("a", "b")])
    symbols, word = np.array([0, 1, 0, 1], dtype=np.int32), [0, 1]
    merges.merge_words(symbols, np.array([2, 2]))
    merges.merge_word(word)
    assert (symbols.tolist(), word) == ([0, 1, 0, 1], [0, 1])


@given(st.lists(st.booleans(), max_size=30))
def test_every_other_pair_of_a_run_is_kept(touching: list[bool]) -> None:
    expected: list[bool] = []
    for i in range(len(touching) + 1):
        expected.append(not (i and touching[i - 1] and expected[-1]))
    assert every_other(np.array(touching, dtype=np.bool_)).tolist() == expected
