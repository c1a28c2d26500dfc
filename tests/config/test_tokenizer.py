"""Tests of lm/config/tokenizer.py."""

from typing import Any

import pytest

from lm.config.special_tokens import END_OF_TEXT
from tests.small import TOKENIZER, tokenizer_config

BPE_RULE = "tokenizer.vocab_size: must be at least 259 (256 bytes and 3 special tokens), got "
DIFFER_RULE = "tokenizer.special_tokens: must differ from each other and from <|endoftext|>, got "
PRETRAINED_RULE = (
    "tokenizer.pretrained: must name a tokenizer if kind is 'pretrained', and be null otherwise, got {} and kind {}"
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 258}, f"{BPE_RULE}258"),
        ({"vocab_size": 258, "trainer": "huggingface"}, f"{BPE_RULE}258"),
        (
            {"vocab_size": 256, "special_tokens": []},
            "tokenizer.vocab_size: must be at least 257 (256 bytes and 1 special tokens), got 256",
        ),
        (
            {"kind": "char", "vocab_size": 4},
            "tokenizer.vocab_size: must be at least 5 (2 characters and 3 special tokens), got 4",
        ),
        ({"vocab_size": 65537}, "tokenizer.vocab_size: must be less than or equal to 65536, got 65537"),
        (
            {"kind": "char", "vocab_size": 65537},
            "tokenizer.vocab_size: must be less than or equal to 65536, got 65537",
        ),
        ({"vocab_size": 300.5}, "tokenizer.vocab_size: must be a valid integer, got 300.5"),
        ({"vocab_size": None}, "tokenizer.vocab_size: must be a valid integer, got None"),
        ({"min_frequency": 0}, "tokenizer.min_frequency: must be greater than or equal to 1, got 0"),
        ({"min_frequency": 2.5}, "tokenizer.min_frequency: must be a valid integer, got 2.5"),
        ({"special_tokens": [""]}, "tokenizer.special_tokens: must not be empty strings, got ['']"),
        ({"special_tokens": ["<a>", ""]}, "tokenizer.special_tokens: must not be empty strings, got ['<a>', '']"),
        ({"special_tokens": ["<a>", "<b>", "<a>"]}, f"{DIFFER_RULE}['<a>', '<b>', '<a>']"),
        ({"special_tokens": [END_OF_TEXT]}, f"{DIFFER_RULE}['<|endoftext|>']"),
        ({"special_tokens": "<a>"}, "tokenizer.special_tokens: must be a list of texts, got '<a>'"),
        ({"special_tokens": [1]}, "tokenizer.special_tokens.0: must be a valid string, got 1"),
        ({"kind": "words"}, "tokenizer.kind: must be 'bpe', 'char', 'byte' or 'pretrained', got 'words'"),
        ({"trainer": "ours"}, "tokenizer.trainer: must be 'storyline' or 'huggingface', got 'ours'"),
        ({"ties": "none"}, "tokenizer.ties: must be 'huggingface' or 'lexicographic', got 'none'"),
        ({"pretrained": "gpt2"}, PRETRAINED_RULE.format("'gpt2'", "'bpe'")),
        ({"kind": "byte", "pretrained": "gpt2"}, PRETRAINED_RULE.format("'gpt2'", "'byte'")),
        ({"kind": "pretrained"}, PRETRAINED_RULE.format("None", "'pretrained'")),
        ({"kind": "pretrained", "pretrained": 2}, "tokenizer.pretrained: must be a valid string, got 2"),
        (
            {"trainer": "huggingface", "ties": "lexicographic"},
            "tokenizer.ties: must be 'huggingface' with trainer 'huggingface', got 'lexicographic'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_the_rule_and_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        tokenizer_config(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 259},
        {"vocab_size": 65536},
        {"vocab_size": 257, "special_tokens": []},
        {"kind": "char", "vocab_size": 5},
        {"kind": "byte", "vocab_size": 1},  # which learns nothing, and so has no use for the number
        {"kind": "pretrained", "pretrained": "gpt2", "vocab_size": 1},
        {"trainer": "storyline", "ties": "lexicographic"},
        {"trainer": "huggingface", "ties": "huggingface"},
        {"special_tokens": [f" {END_OF_TEXT}", "<A>", "<a>"]},
    ],
)
def test_what_just_keeps_to_the_rules_is_accepted(changes: dict[str, Any]) -> None:
    config = tokenizer_config(**changes)
    assert {name: getattr(config, name) for name in TOKENIZER} == TOKENIZER | changes


def test_the_end_of_text_is_a_special_token_always_and_comes_first() -> None:
    assert tokenizer_config(special_tokens=[]).all_special_tokens == [END_OF_TEXT]
    assert tokenizer_config(special_tokens=["<b>", "<a>"]).all_special_tokens == [END_OF_TEXT, "<b>", "<a>"]
