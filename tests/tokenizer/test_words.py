"""Tests of lm/tokenizer/words.py."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.splitting import word_starts
from lm.tokenizer.words import WordIndex

# Words of every length that is handled in its own way (8 and 15 bytes are the borders), many of them equal in the first
# bytes, or to others but for NUL bytes at the end, which are what is left of a key that a word does not fill.
letters = st.sampled_from([b"\0", b"\1", b"a", b"b", b"\xf0", b"\xff"])
words = (
    st.builds(lambda letter, n: letter * n, letters, st.integers(1, 40))
    | st.builds(lambda first, n, last: first * n + last, letters, st.integers(1, 40), letters)
    | st.binary(min_size=1, max_size=40)
)
batches = st.lists(st.lists(words, max_size=20), max_size=5)


def number(index: WordIndex, words: list[bytes]) -> list[int]:
    starts = np.cumsum([0, *map(len, words)])[:-1]
    numbers: list[int] = index.number(b"".join(words), starts).tolist()
    return numbers


def spelled(index: WordIndex, first: int = 1) -> list[bytes]:
    data, lengths = index.spell(first)
    return [part.tobytes() for part in np.split(data, np.cumsum(lengths))[:-1]]


@given(batches, st.booleans())
@example([[b"a" * n for n in range(1, 41)], [b"a" * n for n in range(40, 0, -1)]], False)
@example([[b"\0" * n for n in range(1, 41)], [b"\0" * n + b"\1" for n in range(40, 0, -1)]], False)
@example([[b"a" * n + b"b" for n in range(1, 41)] * 2], True)
@example([[b"a" * 15, b"a" * 16, b"a" * 15 + b"\0", b"a" * 16]], False)
def test_equal_words_have_equal_numbers_and_different_words_different_ones(
    batches: list[list[bytes]], collide: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if collide:  # all keys want one slot, so that nothing but comparing them tells words apart
            patch.setattr("lm.tokenizer.table._MULTIPLIERS", np.zeros(2, dtype=np.uint64))
        index, number_of = WordIndex(), dict[bytes, int]()
        for batch in batches:
            n_known = len(index)
            for word, its_number in zip(batch, number(index, batch), strict=True):
                assert number_of.setdefault(word, its_number) == its_number
            assert len(index) == len(number_of)
            by_number = sorted(number_of, key=number_of.__getitem__)
            assert [number_of[word] for word in by_number] == list(range(1, len(index) + 1))
            assert spelled(index) == by_number
            assert spelled(index, n_known + 1) == by_number[n_known:]


def test_a_word_does_not_depend_on_what_stands_after_it_in_the_text() -> None:
    index = WordIndex()
    for length in range(1, 41):
        word = b"x" * length
        numbers = [number(index, [word, after])[0] for after in (b"\0" * 20, b"\xff", b"x", b"y" * 40)]
        assert numbers == [number(index, [word])[0]] * 4


def test_words_are_those_of_the_text_where_nobody_says_where_they_start() -> None:
    text = "It's a fox, it's a 狐, a fox".encode() + BOUNDARY + b"It's"
    words = ["It", "'s", " a", " fox", ",", " it", "'s", " a", " 狐", ",", " a", " fox", "boundary", "It", "'s"]
    numbers = WordIndex().number(text).tolist()
    assert [numbers.index(n) for n in numbers] == [words.index(word) for word in words]
    assert numbers == WordIndex().number(text, word_starts(text)).tolist()


def test_an_empty_text_has_no_words() -> None:
    index = WordIndex()
    assert index.number(b"").tolist() == []
    assert len(index) == 0
    assert spelled(index) == []


def test_many_words_of_all_lengths_keep_their_numbers_while_the_index_grows() -> None:
    generator = np.random.Generator(np.random.Philox(key=2))
    index = WordIndex()
    words = list({bytes(generator.integers(97, 100, size=1 + i % 24).astype(np.uint8)) for i in range(20_000)})
    numbers = [n for start in range(0, len(words), 999) for n in number(index, words[start : start + 999])]
    assert sorted(numbers) == list(range(1, len(words) + 1))
    assert number(index, words) == numbers
    by_number = dict(zip(numbers, words, strict=True))
    assert spelled(index) == [by_number[n] for n in range(1, len(words) + 1)]
