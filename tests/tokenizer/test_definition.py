"""Tests of lm/tokenizer/definition.py: tokenizer.json as text, and what of it is read."""

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.definition import by_id, is_bpe, is_characters, read, read_bpe, write_bpe, write_characters
from lm.tokenizer.learning import learn_bpe, learn_characters
from tests.small import DOCUMENTS, texts, tokenizer_config

LEARNED = learn_bpe(count_texts(DOCUMENTS), tokenizer_config())
CHARACTERS = learn_characters(count_texts(DOCUMENTS), tokenizer_config(kind="char"))

BYTES = [bytes([byte]) for byte in range(256)]


def test_golden_file_of_characters() -> None:
    assert write_characters([END_OF_TEXT, "a", "é", "\ufffd"], {END_OF_TEXT: 0}) == (
        """{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {
      "id": 0,
      "content": "<|endoftext|>",
      "single_word": false,
      "lstrip": false,
      "rstrip": false,
      "normalized": false,
      "special": true
    }
  ],
  "normalizer": null,
  "pre_tokenizer": {
    "type": "Split",
    "pattern": {
      "Regex": "[\\\\s\\\\S]"
    },
    "behavior": "Isolated",
    "invert": false
  },
  "post_processor": null,
  "decoder": {
    "type": "Fuse"
  },
  "model": {
    "type": "WordLevel",
    "vocab": {
      "<|endoftext|>": 0,
      "a": 1,
      "é": 2,
      "\ufffd": 3
    },
    "unk_token": "\ufffd"
  }
}"""
    )


def test_golden_beginning_and_end_of_a_file_of_bpe() -> None:
    tokens = [END_OF_TEXT.encode(), *BYTES, b" a"]
    lines = write_bpe(tokens, [(1 + ord(" "), 1 + ord("a"))], {END_OF_TEXT: 0}).split("\n")
    model = lines.index('  "model": {')
    assert json.loads("\n".join(["{", *lines[model - 14 : model], '"a": 0}'])) == {
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "a": 0,
    }
    assert lines[-9:] == [
        "    },",
        '    "merges": [',
        "      [",
        '        "Ġ",',
        '        "a"',
        "      ]",
        "    ]",
        "  }",
        "}",
    ]
    assert lines[-10] == '      "Ġa": 257'


@given(st.lists(texts, max_size=4))
def test_the_files_are_those_that_hugging_face_writes_when_it_has_read_them(documents: list[str]) -> None:
    words = count_texts(documents)
    learned = learn_bpe(words, tokenizer_config(vocab_size=300)).definition
    assert tokenizers.Tokenizer.from_str(learned).to_str(pretty=True) == learned
    characters = learn_characters(words, tokenizer_config(kind="char")).definition
    assert tokenizers.Tokenizer.from_str(characters).to_str(pretty=True) == characters


@given(st.lists(st.text("ab\n é", max_size=20), max_size=4))
def test_what_is_written_is_what_is_read(documents: list[str]) -> None:
    learned = learn_bpe(count_texts(documents), tokenizer_config(vocab_size=300))
    assert read_bpe(read(learned.definition)) == (learned.tokens, learned.merges.pairs, learned.special_tokens)


def test_merges_and_options_as_old_files_have_them_are_read() -> None:
    values = read(LEARNED.definition)
    values["model"]["merges"] = [" ".join(pair) for pair in values["model"]["merges"]]
    for option in ("type", "unk_token", "byte_fallback", "ignore_merges", "dropout"):
        del values["model"][option]
    values["model"]["continuing_subword_prefix"] = values["model"]["end_of_word_suffix"] = ""
    del values["pre_tokenizer"]["use_regex"]
    del values["normalizer"], values["truncation"], values["padding"]
    values["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    assert is_bpe(values)
    assert read_bpe(values) == (LEARNED.tokens, LEARNED.merges.pairs, LEARNED.special_tokens)


def change(path: list[str | int], value: Any) -> dict[str, Any]:
    """The values of the learned file with another one at one place."""
    values = read(LEARNED.definition)
    at: Any = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["model", "type"], "Unigram"),
        (["model", "dropout"], 0.1),
        (["model", "unk_token"], "a"),
        (["model", "continuing_subword_prefix"], "##"),
        (["model", "end_of_word_suffix"], "</w>"),
        (["model", "byte_fallback"], True),
        (["model", "ignore_merges"], True),
        (["model", "vocab"], {"a": 0}),
        (["pre_tokenizer"], None),
        (["pre_tokenizer", "type"], "Whitespace"),
        (["pre_tokenizer", "add_prefix_space"], True),
        (["pre_tokenizer", "use_regex"], False),
        (["normalizer"], {"type": "NFC"}),
        (["post_processor"], {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
        (["added_tokens", 1, "special"], False),
        (["added_tokens", 1, "single_word"], True),
        (["added_tokens", 1, "lstrip"], True),
        (["added_tokens", 1, "rstrip"], True),
    ],
)
def test_a_file_whose_ids_would_differ_is_none_of_ours(path: list[str | int], value: Any) -> None:
    assert not is_bpe(change(path, value))


@pytest.mark.parametrize(
    "path",
    [["model", "unk_token"], ["pre_tokenizer", "behavior"], ["normalizer"], ["post_processor"], ["pre_tokenizer"]],
)
def test_characters_that_are_cut_in_another_way_are_none_of_ours(path: list[str]) -> None:
    values = read(CHARACTERS.definition)
    assert is_characters(values)
    at = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = {"type": "NFC"}
    assert not is_characters(values)
    assert not is_bpe(values)


def test_each_file_is_of_one_kind() -> None:
    assert (is_bpe(read(LEARNED.definition)), is_characters(read(LEARNED.definition))) == (True, False)
    assert (is_bpe(read(CHARACTERS.definition)), is_characters(read(CHARACTERS.definition))) == (False, True)


def test_special_tokens_may_have_any_ids() -> None:
    tokens = [*BYTES[:100], b"<b>", *BYTES[100:], END_OF_TEXT.encode(), b"ab", b"<a>"]
    a, b = tokens.index(b"a"), tokens.index(b"b")
    special = {END_OF_TEXT: 257, "<a>": 259, "<b>": 100}
    ours = BpeTokenizer(tokens, [(a, b)], special)
    assert read_bpe(read(ours.definition)) == (tokens, [(a, b)], special)
    assert ours.encode(f"ab<b>{END_OF_TEXT}a<a>", allow_special=True) == [258, 100, 257, a, 259]
    theirs = tokenizers.Tokenizer.from_str(ours.definition)
    assert theirs.encode(f"ab<b>{END_OF_TEXT}a<a>").ids == [258, 100, 257, a, 259]


def test_ids_are_each_once() -> None:
    assert by_id({"b": 1, "a": 0}) == ["a", "b"]
    assert by_id({}) == []
    for vocab, missing in (({"a": 1}, 0), ({"a": 0, "b": 0}, 1), ({"a": 0, "b": 2}, 1), ({"a": -1, "b": 0}, 1)):
        last = len(vocab) - 1
        message = rf"^model\.vocab: must have each id from 0 to {last} once, got none with id {missing}$"
        with pytest.raises(ValueError, match=message):
            by_id(vocab)
