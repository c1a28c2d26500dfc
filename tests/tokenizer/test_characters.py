"""Tests of lm/tokenizer/characters.py; which characters are learned is tested with lm/tokenizer/learning.py."""

import json
import re
import sys
from functools import cache

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.load import parse_tokenizer
from tests.small import SPECIALS, texts

KNOWN = ["\0", "\t", "\n", "\r", " ", "'", "a", "b", "s", "é", "\u0301", "\u3000", "你", "\ufffd", "🦊", "\U0010ffff"]
UNKNOWN_ID = 3 + KNOWN.index("\ufffd")


@cache
def tokenizer() -> CharacterTokenizer:
    specials = [END_OF_TEXT, *SPECIALS]
    return CharacterTokenizer([*specials, *KNOWN], {token: id for id, token in enumerate(specials)})


@cache
def hugging_face() -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer.from_str(tokenizer().definition)
    theirs.encode_special_tokens = True
    return theirs


def assert_same_ids(text: str) -> None:
    ids = tokenizer().encode(text)
    assert ids == hugging_face().encode(text).ids
    assert ids == [3 + KNOWN.index(character if character in KNOWN else "\ufffd") for character in text]
    assert tokenizer().decode(ids) == "".join(character if character in KNOWN else "\ufffd" for character in text)


@given(texts | st.text(KNOWN))
@example("")
@example("".join(KNOWN))
@example("".join(chr(i) for i in range(0x300)))
@example(END_OF_TEXT)
def test_each_character_is_the_token_that_hugging_face_gives_and_unknown_ones_are_the_replacement(text: str) -> None:
    assert_same_ids(text)


def test_every_character_of_unicode_is_one_token() -> None:
    codes = np.array([code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000], dtype="<u4")
    ids = tokenizer().encode_block(codes.tobytes().decode("utf-32-le").encode() + b"\xff")
    assert len(ids) == len(codes) + 1
    known = np.flatnonzero(ids != UNKNOWN_ID)
    assert ids[known].tolist() == [*range(3, UNKNOWN_ID), UNKNOWN_ID + 1, UNKNOWN_ID + 2, 0]
    assert [chr(code) for code in codes[known[:-1]]] == [character for character in KNOWN if character != "\ufffd"]


def test_golden_ids() -> None:
    assert tokenizer().tokens == [END_OF_TEXT, *SPECIALS, *KNOWN]
    assert tokenizer().encode("as é🦊?") == [9, 11, 7, 12, 17, UNKNOWN_ID]
    assert tokenizer().decode([9, UNKNOWN_ID, 0]) == "a\ufffd<|endoftext|>"
    assert [tokenizer().token_bytes(id) for id in (0, 9, 17)] == [END_OF_TEXT.encode(), b"a", "🦊".encode()]


@given(st.lists(texts, max_size=4))
def test_the_ends_of_texts_are_told_apart_from_their_characters(batch: list[str]) -> None:
    ids = tokenizer().encode_block(b"".join(text.encode() + b"\xff" for text in batch)).tolist()
    assert ids == [id for text in batch for id in [*tokenizer().encode(text), 0]]


def test_special_tokens_may_have_any_ids() -> None:
    tokens = ["<a>", "a", END_OF_TEXT, "\ufffd", "b", "<b>"]
    ours = CharacterTokenizer(tokens, {"<b>": 5, END_OF_TEXT: 2, "<a>": 0})
    text = f"a<a>{END_OF_TEXT}<b>bc"
    assert ours.encode(text, allow_special=True) == [1, 0, 2, 5, 4, 3]
    assert ours.decode([1, 0, 2, 5, 4, 3]) == f"a<a>{END_OF_TEXT}<b>b\ufffd"
    again = parse_tokenizer(ours.definition)
    assert isinstance(again, CharacterTokenizer)
    assert (again.tokens, again.special_tokens, again.end_id) == (tokens, ours.special_tokens, 2)
    assert tokenizers.Tokenizer.from_str(ours.definition).encode(text).ids == [1, 0, 2, 5, 4, 3]


@given(st.text(KNOWN), st.integers(0, 3))
def test_a_text_may_be_cut_before_its_last_character_which_may_be_cut_short(text: str, n_lost: int) -> None:
    data = text.encode()
    data = data[: max(0, len(data) - n_lost)]
    cut = tokenizer().last_cut(data)
    assert data[:cut].decode() == text[: len(data[:cut].decode())]
    assert len(data) - 4 <= cut <= len(data)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ({"a": 1, "b": 2}, "model.vocab: must hold U+FFFD, and only single characters beside the special tokens"),
        ({"ab": 1, "\ufffd": 2}, "model.vocab: must hold U+FFFD, and only single characters beside the special tokens"),
        ({"": 1, "\ufffd": 2}, "model.vocab: must hold U+FFFD, and only single characters beside the special tokens"),
        ({"a": 1, "\ufffd": 3}, "model.vocab: must have each id from 0 to 2 once, got none with id 2"),
        ({"a": 2, "\ufffd": 2}, "model.vocab: must have each id from 0 to 2 once, got none with id 1"),
    ],
)
def test_a_vocabulary_that_is_none_of_characters_is_one_clear_error(vocab: dict[str, int], message: str) -> None:
    values = json.loads(CharacterTokenizer([END_OF_TEXT, "a", "\ufffd"], {END_OF_TEXT: 0}).definition)
    values["model"]["vocab"] = {END_OF_TEXT: 0} | vocab
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_tokenizer(json.dumps(values))
