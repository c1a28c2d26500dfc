"""Tests of lm/analysis/tokenizers/: merge trees, smaller sizes and views of every kind of tokenizer."""

import numpy as np
import pytest

from lm.analysis.tokenizers.splits import merge_tree, sizes, split_by
from lm.analysis.tokenizers.views import tokenizer_views
from lm.analysis.views import Table, as_json, topic_from_json
from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.tokenizer import Tokenizer

BYTES = [bytes([byte]) for byte in range(256)]
LOW, LO, OW, LOW_ER = 259, 257, 258, 261
TOKENS = [END_OF_TEXT.encode(), *BYTES, *[b"lo", b"ow", b"low", b"er", b"lower"]]


def id_of(token: bytes) -> int:
    return TOKENS.index(token)


PAIRS = [(b"l", b"o"), (b"o", b"w"), (b"lo", b"w"), (b"e", b"r"), (b"low", b"er")]
BPE = BpeTokenizer(TOKENS, [(id_of(left), id_of(right)) for left, right in PAIRS], {END_OF_TEXT: 0})
CHARACTERS = CharacterTokenizer([END_OF_TEXT, "\ufffd", *"lower "], {END_OF_TEXT: 0})


def test_a_merge_tree_is_read_from_its_root() -> None:
    nodes = merge_tree(BPE, id_of(b"lower"))
    assert [(node.depth, TOKENS[node.id], node.merge) for node in nodes] == [
        (0, b"lower", 5),
        (1, b"low", 3),
        (2, b"lo", 1),
        (3, b"l", None),
        (3, b"o", None),
        (2, b"w", None),
        (1, b"er", 4),
        (2, b"e", None),
        (2, b"r", None),
    ]
    assert merge_tree(BPE, id_of(b"x"))[0].merge is None


@pytest.mark.parametrize("text", ["lower lower", "slow\nérow", ""])
def test_a_smaller_size_splits_as_a_tokenizer_of_that_size(text: str) -> None:
    for n_merges, vocab_size in sizes(BPE, 9):
        smaller = BpeTokenizer(TOKENS[: 257 + n_merges], BPE.merges.pairs[:n_merges], {END_OF_TEXT: 0})
        assert vocab_size == smaller.vocab_size
        assert split_by(BPE, text, n_merges) == smaller.pieces(smaller.encode(text))


@pytest.mark.parametrize("tokenizer", [BPE, CHARACTERS])
@pytest.mark.parametrize("texts", [["lower row", "low"], [], [""]])
def test_every_tokenizer_has_a_topic(tokenizer: Tokenizer, texts: list[str]) -> None:
    counts = np.bincount([id for text in texts for id in tokenizer.encode(text)], minlength=tokenizer.vocab_size)
    topic = tokenizer_views(tokenizer, counts, texts, {"characters": CHARACTERS})
    assert topic_from_json(as_json(topic)) == topic
    assert bool(topic.notes) == (tokenizer is CHARACTERS)


def test_the_tables_by_hand() -> None:
    counts = np.bincount(BPE.encode("lower row"), minlength=BPE.vocab_size)
    views = {view.title: view for view in tokenizer_views(BPE, counts, ["lower row"], {"characters": CHARACTERS}).views}
    kinds = views["Bytes a token, by kind of text"]
    assert isinstance(kinds, Table)
    assert kinds.rows[0] == ("the corpus", 2.25, 1.0)  # lower, the blank, r, ow
    longest = views["Longest tokens"]
    assert isinstance(longest, Table)
    assert longest.rows[:2] == (("lower", 5, 1), ("low", 3, 0))
    unused = views["Tokens that are never used"]
    assert isinstance(unused, Table)
    assert [row[0] for row in unused.rows] == ["lo", "low", "er"]
    sizes_of_one = views["One text at several sizes of the vocabulary"]
    assert isinstance(sizes_of_one, Table)
    assert sizes_of_one.rows[-1] == (262, 4, "lower│ │r│ow")
