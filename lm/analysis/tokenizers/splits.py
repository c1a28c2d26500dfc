"""How a byte-pair encoding builds its tokens, and how its smaller sizes split a text."""

from itertools import pairwise
from typing import NamedTuple

from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.inspection import geometric
from lm.tokenizer.merges import Merges
from lm.tokenizer.splitting import word_starts


class Node(NamedTuple):
    """A token of a merge tree, in the order of reading a tree from its root: a token, then its left and right parts.

    Attributes:
        depth: how many tokens stand above it.
        id: the token.
        merge: the number of the merge that makes it, from 1 on; None for a single byte.
    """

    depth: int
    id: int
    merge: int | None


def merge_tree(tokenizer: BpeTokenizer, id: int) -> list[Node]:
    """The merges that make a token, down to bytes. If several make the same token, the first one counts."""
    made: dict[int, int] = {}
    for number, product in enumerate(tokenizer.merges.products, start=1):
        made.setdefault(product, number)
    nodes, waiting = [], [(0, id)]
    while waiting:
        depth, token = waiting.pop()
        merge = made.get(token)
        nodes.append(Node(depth, token, merge))
        if merge is not None:
            left, right = tokenizer.merges.pairs[merge - 1]
            waiting += [(depth + 1, right), (depth + 1, left)]
    return nodes


def split_by(tokenizer: BpeTokenizer, text: str, n_merges: int) -> list[bytes]:
    """The tokens of a text by the first merges alone: those of a tokenizer of that size.

    This is exact, because the first merges that BPE learns do not depend on the size of the vocabulary.
    """
    data = text.encode()
    if not data:
        return []
    smaller = Merges(tokenizer.merges.pairs[:n_merges], tokenizer.merges.products[:n_merges])
    starts = [*word_starts(data).tolist(), len(data)]
    id_of_byte = [tokenizer.tokens.index(bytes([byte])) for byte in range(256)]
    return [
        tokenizer.tokens[id]
        for start, end in pairwise(starts)
        for id in smaller.merge_word([id_of_byte[byte] for byte in data[start:end]])
    ]


def sizes(tokenizer: BpeTokenizer, count: int) -> list[tuple[int, int]]:
    """Numbers of merges from none to all, and the size of the vocabulary with them, special tokens included."""
    products = tokenizer.merges.products
    numbers = [n - 1 for n in geometric(1, len(products) + 1, count)]
    return [(n, tokenizer.vocab_size - len(set(products)) + len(set(products[:n]))) for n in numbers]
