"""Tests of lm/analysis/texts.py: measures of hand-made texts."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.analysis.texts import Measures, bleu, distinct, perplexity, repetition, self_bleu, words

CAT, MAT = ["the", "cat", "sat", "on", "the", "mat"], ["the", "cat", "is", "on", "the", "mat"]

some_words = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


def test_words_are_lower_case_and_marks_stand_alone() -> None:
    assert words("Ünlü “Don’t!”  3 dogs-\n") == ["ünlü", "“", "don’t", "!", "”", "3", "dogs", "-"]
    assert words("") == []


def test_distinct_counts_over_all_texts() -> None:
    assert distinct([CAT, MAT], 1) == pytest.approx(6 / 12)
    assert distinct([CAT, MAT], 2) == pytest.approx(7 / 10)  # the cat, on the, the mat come twice
    assert distinct([CAT], 6) == 1
    assert distinct([CAT, []], 7) is None


def test_repetition_is_the_share_that_has_come_before() -> None:
    circle = ["round", "and", "round", "and", "round", "and", "round"]  # 5 sequences of three words, 2 different ones
    assert repetition(circle, 3) == pytest.approx(3 / 5)
    assert repetition(CAT, 2) == 0
    assert repetition(CAT, 7) is None


def test_bleu_of_a_text_by_hand() -> None:
    # 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, 0 of 3 quadruples, for which a tenth counts
    assert bleu(CAT, [MAT]) == pytest.approx((5 / 6 * 3 / 5 * 1 / 4 * 0.1 / 3) ** (1 / 4))
    assert bleu(CAT, [MAT], n=1) == pytest.approx(5 / 6)
    # "the" counts twice, as often as in the reference that has it most often
    assert bleu(["the"] * 4, [["the", "x", "the", "y"], ["the", "z", "z", "z"]], n=1) == pytest.approx(2 / 4)
    assert bleu(["a", "b", "c", "d"], [MAT]) == 0  # as in nltk and sacrebleu: without a common word nothing is smoothed
    # shorter than the reference nearest in length: exp(1 - 6/3)
    assert bleu(CAT[:3], [CAT, CAT * 4], n=2) == pytest.approx(math.exp(-1))
    assert bleu(CAT, [CAT[:3], CAT[:2]], n=1) == pytest.approx(3 / 6)  # longer ones pay by their precision alone


@given(st.lists(some_words, min_size=2, max_size=5))
def test_self_bleu_is_the_mean_bleu_against_all_others(texts: Sequence[list[str]]) -> None:
    each = [bleu(text, [*texts[:i], *texts[i + 1 :]]) for i, text in enumerate(texts)]
    assert self_bleu(texts) == sum(each) / len(each)


@given(st.lists(some_words, min_size=2, max_size=4))
def test_self_bleu_is_one_for_equal_texts_and_between_zero_and_one_for_all(texts: Sequence[list[str]]) -> None:
    assert self_bleu([texts[0], texts[0]]) == pytest.approx(1)
    value = self_bleu(texts)
    assert value is not None
    assert 0 <= value <= 1 + 1e-12
    assert self_bleu(texts[::-1]) == pytest.approx(value)  # no text is special


def test_self_bleu_needs_two_texts_with_words() -> None:
    assert self_bleu([CAT]) is None
    assert self_bleu([CAT, []]) is None
    assert self_bleu([CAT, [], MAT]) == self_bleu([CAT, MAT])  # a text without words is like no other
    assert self_bleu([CAT, MAT]) == pytest.approx((bleu(CAT, [MAT]) + bleu(MAT, [CAT])) / 2)


def test_perplexity_is_the_number_of_equally_likely_tokens() -> None:
    assert perplexity(10 * math.log(1 / 7), 10) == pytest.approx(7)
    assert perplexity(0.0, 0) is None
    assert perplexity(-1e6, 1) is None


def test_measures_of_a_set() -> None:
    measures = Measures.of(
        ["A fox. A fox. A fox.", "A hen"], n_tokens=14, log_probability=14 * math.log(0.5), n_complete=1
    )
    assert measures.n_texts == 2
    assert measures.tokens_per_text == 7
    assert measures.distinct_1 == pytest.approx(4 / 11)
    assert measures.distinct_2 == pytest.approx(4 / 9)
    assert measures.repetition_4 == pytest.approx(3 / 6)  # the second text has no four words in a row
    assert measures.perplexity == pytest.approx(2)
    assert measures.complete == 0.5
    empty = Measures.of([""], n_tokens=0, log_probability=0.0, n_complete=1)
    assert (empty.distinct_1, empty.repetition_4, empty.self_bleu, empty.perplexity) == (None, None, None, None)
