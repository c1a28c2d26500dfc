"""The views of the topic tokenizer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from lm.analysis.tokenizers.splits import merge_tree, sizes, split_by
from lm.analysis.views import Curve, Curves, Table, Topic, View, numbers
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.inspection import compression, longest_tokens, show_split, show_token
from lm.tokenizer.tokenizer import Tokenizer

_SHOWN = 20  # rows of a table
_SENTENCE_CHARACTERS = 160
_KINDS = {
    "English": "The old man walked slowly to the station, because his train had been delayed again.",
    "capital letters": "PLEASE DO NOT OPEN THIS DOOR BEFORE THE BELL RINGS.",
    "numbers": "7 42 365 1984 3.14159 1,000,000 2026-11-26",
    "spaces": "a b  c   d\n\ne\tf        g",
    "code": "def area(width, height):\n    return width * height  # in square metres\n",
    "German": "Das Mädchen hörte draußen die Vögel und lief schnell zur Tür.",
    "Russian": "Девочка услышала птиц и быстро побежала к двери.",
    "emoji": "🙂🐈🌧️👩‍🚀",
}


def tokenizer_views(
    tokenizer: Tokenizer,
    counts: Int64[np.ndarray, " vocab_size"],
    texts: Sequence[str],
    others: Mapping[str, Tokenizer] | None = None,
) -> Topic:
    """What the tokenizer has learned. `counts` says how often each id stands in the training tokens.

    `texts` are documents of the corpus. `others` are tokenizers to compare with, by name.
    """
    all_of_them = {"this one": tokenizer, **(others or {})}
    views: list[View] = [_kinds(all_of_them, texts), _splits(all_of_them, texts), _longest(tokenizer, counts)]
    views.append(_unused(tokenizer, counts))
    notes: tuple[str, ...] = ()
    if isinstance(tokenizer, BpeTokenizer) and tokenizer.merges.pairs:
        views += [_tree(tokenizer, counts), _merges(tokenizer)]
        if any(texts):
            views += [_smaller(tokenizer, texts), _compression(tokenizer, texts)]
    else:
        notes = ("This tokenizer has learned no merges, so it has no merge tree and no smaller sizes.",)
    return Topic("tokenizer", "Tokenizer", views, notes)


def _kinds(tokenizers: Mapping[str, Tokenizer], texts: Sequence[str]) -> Table:
    kinds = {"the corpus": "\n".join(texts), **_KINDS}
    rows: list[list[str | float | None]] = []
    for kind, text in kinds.items():
        n_tokens = [len(tokenizer.encode(text)) for tokenizer in tokenizers.values()]
        n_bytes = len(text.encode())
        rows.append([kind, *(float(f"{n_bytes / n:.3g}") if n else None for n in n_tokens)])
    return Table(
        "Bytes a token, by kind of text",
        "How many bytes of UTF-8 a token stands for. More bytes mean fewer tokens, so a model that sees more text at "
        "once. Only what is like the training text is split into long tokens.",
        ["kind of text", *tokenizers],
        rows,
    )


def _splits(tokenizers: Mapping[str, Tokenizer], texts: Sequence[str]) -> Table:
    shown = {"the corpus": texts[0][:_SENTENCE_CHARACTERS] if texts else "", **_KINDS}
    return Table(
        "How texts split",
        "A bar stands between tokens. Look at numbers and spaces: a model can only count digits that it sees.",
        ["kind of text", *tokenizers],
        [[kind, *(show_split(one, text) for one in tokenizers.values())] for kind, text in shown.items()],
    )


def _longest(tokenizer: Tokenizer, counts: Int64[np.ndarray, " vocab_size"]) -> Table:
    return Table(
        "Longest tokens",
        "The tokens with the most bytes, and how often each stands in the training tokens.",
        ["token", "bytes", "times"],
        [
            [show_token(tokenizer, id), len(tokenizer.token_bytes(id)), int(counts[id])]
            for id in longest_tokens(tokenizer, _SHOWN)
        ],
    )


def _unused(tokenizer: Tokenizer, counts: Int64[np.ndarray, " vocab_size"]) -> Table:
    special = set(tokenizer.special_tokens.values())
    unused = [id for id in np.flatnonzero(counts == 0).tolist() if id not in special]
    several = [id for id in unused if len(tokenizer.token_bytes(id)) > 1]
    return Table(
        "Tokens that are never used",
        f"{len(unused):,} of {tokenizer.vocab_size:,} tokens stand nowhere in the training tokens, so that the model "
        f"learns nothing of them. {len(several):,} of these have several bytes: most often they were only a step on "
        "the way to a longer token. The others are bytes that the text does not have.",
        ["token", "id"],
        [[show_token(tokenizer, id), id] for id in (several or unused)[: 2 * _SHOWN]],
    )


def _tree(tokenizer: BpeTokenizer, counts: Int64[np.ndarray, " vocab_size"]) -> Table:
    used = [id for id in longest_tokens(tokenizer, tokenizer.vocab_size) if counts[id] > 0]
    id = (used or longest_tokens(tokenizer, 1))[0]
    return Table(
        "How the longest token is built",
        f"The merges that make {show_token(tokenizer, id)!r}: below each token stand its two parts, further in, and in "
        "the end single bytes. The number says how early the merge was learned.",
        ["token", "merge"],
        [["    " * node.depth + show_token(tokenizer, node.id), node.merge] for node in merge_tree(tokenizer, id)],
    )


def _merges(tokenizer: BpeTokenizer) -> Curves:
    lengths = np.array([len(tokenizer.tokens[id]) for id in tokenizer.merges.products], np.float64)
    edges = np.unique(np.linspace(0, len(lengths), min(len(lengths), 40) + 1).astype(np.int64))
    means = np.array([lengths[first:last].mean() for first, last in pairwise(edges)])
    return Curves(
        "Merges by time",
        "The mean length of the tokens that merges make, in the order learned: first pairs of letters, then parts of "
        "words, then whole words.",
        "merge",
        "bytes of the new token",
        [Curve("mean", numbers(edges[1:]), numbers(means))],
    )


def _smaller(tokenizer: BpeTokenizer, texts: Sequence[str]) -> Table:
    text = next(filter(None, texts))[:_SENTENCE_CHARACTERS]
    rows: list[list[str | int]] = []
    for n_merges, vocab_size in sizes(tokenizer, 6):
        pieces = split_by(tokenizer, text, n_merges)
        shown = "│".join(piece.decode(errors="backslashreplace").replace("\n", "\\n") for piece in pieces)
        rows.append([vocab_size, len(pieces), shown])
    return Table(
        "One text at several sizes of the vocabulary",
        "A smaller tokenizer has only the first merges. A bar stands between tokens.",
        ["vocabulary", "tokens", "text"],
        rows,
    )


def _compression(tokenizer: BpeTokenizer, texts: Sequence[str]) -> Curves:
    found = compression(tokenizer, count_texts(texts))
    return Curves(
        "Bytes a token, by size of the vocabulary",
        "What a larger vocabulary of this corpus brings. Where the curve becomes flat, more tokens only make the model "
        "larger.",
        "vocabulary",
        "bytes a token",
        [Curve("the corpus", numbers(found["vocab_size"]), numbers(found["bytes_per_token"]))],
        log_x=True,
    )
