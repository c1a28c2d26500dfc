"""Shows what a tokenizer has learned: its merges, its longest tokens, how it splits text, and statistics."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from lm.formats.columns import Columns
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import WordCounts
from lm.tokenizer.merges import Merges
from lm.tokenizer.tokenizer import Tokenizer

_POINTS = 200  # of the curve over ranks
_SIZES = 16  # of the vocabulary, in the curve of compression
_BINS = 40  # of the histogram
_ESCAPES = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


def show_token(tokenizer: Tokenizer, id: int) -> str:
    r"""The text of a token on one line: `\n` for a line break, `\xf0` for a byte that is only part of a character."""
    return _on_one_line(tokenizer.token_bytes(id))


def show_split(tokenizer: Tokenizer, text: str) -> str:
    """A text on one line, with a bar between its tokens."""
    return "│".join(map(_on_one_line, tokenizer.pieces(tokenizer.encode(text))))


def show_lines(tokenizer: Tokenizer, text: str) -> list[str]:
    """The lines of a text, with a bar between its tokens; a new line begins after each token that ends one.

    The text is encoded as a whole, because a line by itself may have other tokens.
    """
    lines: list[list[str]] = [[]]
    for piece in tokenizer.pieces(tokenizer.encode(text)):
        lines[-1].append(_on_one_line(piece))
        if piece.endswith(b"\n"):
            lines.append([])
    return ["│".join(line) for line in lines if line]


def show_merges(tokenizer: BpeTokenizer, first: int, last: int) -> list[str]:
    """The merges from number `first` to before `last`, in the order learned: `h + e → he`."""
    merges = zip(tokenizer.merges.pairs, tokenizer.merges.products, strict=True)
    return [
        f"{show_token(tokenizer, left)} + {show_token(tokenizer, right)} → {show_token(tokenizer, product)}"
        for (left, right), product in list(merges)[first:last]
    ]


def longest_tokens(tokenizer: Tokenizer, count: int) -> list[int]:
    """The ids of the tokens with the most bytes, without special tokens."""
    special = set(tokenizer.special_tokens.values())
    ids = [id for id in range(tokenizer.vocab_size) if id not in special]
    return sorted(ids, key=lambda id: len(tokenizer.token_bytes(id)), reverse=True)[:count]


def token_frequencies(counts: NDArray[np.int64]) -> Columns:
    """The share of each token among all tokens, by rank, at ranks that are evenly spaced on a log axis.

    By Zipf's law (1949), the share of a word falls as 1 / rank. `counts` are by id: (vocab_size,).
    """
    share = np.sort(counts[counts > 0])[::-1] / counts.sum()
    ranks = np.array(geometric(1, len(share), _POINTS))
    return {"rank": ranks, "share": share[ranks - 1]}


def compression(tokenizer: BpeTokenizer, words: WordCounts) -> Columns:
    """Bytes per token of a text by vocabulary size: a smaller vocabulary has only the first merges.

    This is exact, because the first merges that BPE learns do not depend on the size of the vocabulary.
    """
    id_of_byte = np.array([tokenizer.tokens.index(bytes([byte])) for byte in range(256)], dtype=np.int32)
    pairs, products = tokenizer.merges.pairs, tokenizer.merges.products
    n_bytes = words.counts @ words.lengths
    rows = []
    for n in (size - 1 for size in geometric(1, len(pairs) + 1, _SIZES)):
        _, n_tokens = Merges(pairs[:n], products[:n]).merge_words(id_of_byte[words.data], words.lengths)
        vocab_size = tokenizer.vocab_size - len(set(products)) + len(set(products[:n]))
        rows.append((vocab_size, n_bytes / (words.counts @ n_tokens)))
    vocab_sizes, ratios = zip(*rows, strict=True)
    return {"vocab_size": np.array(vocab_sizes), "bytes_per_token": np.array(ratios)}


def length_histogram(lengths: NDArray[np.int64]) -> Columns:
    """The number of documents by their number of tokens, in bins that are equally wide on a log axis.

    `tokens` is the geometric middle of a bin. `lengths` are at least 1: (n_documents,). If all are equal, there is one
    bin.
    """
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest == longest:
        return {"tokens": np.array([float(shortest)]), "documents": np.array([len(lengths)])}
    thousandths = geometric(1000 * shortest, 1000 * longest, 2 * _BINS + 1)  # edges and middles in turn
    counts, _ = np.histogram(1000 * lengths, bins=thousandths[::2])
    return {"tokens": np.array(thousandths[1::2]) / 1000, "documents": counts}


def geometric(first: int, last: int, count: int) -> list[int]:
    """`count` whole numbers from `first` to `last`, evenly spaced on a log axis and rounded down; each of them once.

    They are found with integers alone, because the last bits of a logarithm differ from processor to processor.

    >>> geometric(1, 1000, 7)
    [1, 3, 10, 31, 100, 316, 1000]
    """
    n = count - 1

    def root(x: int) -> int:
        """The largest integer whose n-th power is at most x."""
        return bisect_right(range(first, last + 1), x, key=lambda r: r**n) + first - 1

    return sorted({root(first ** (n - i) * last**i) for i in range(count)})


def _on_one_line(token: bytes) -> str:
    return token.decode(errors="backslashreplace").translate(_ESCAPES)
