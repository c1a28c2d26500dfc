"""Reads stories back: every derivation of a text, found by trying every choice that the text still allows."""

from collections.abc import Iterator
from typing import NamedTuple, Optional

from lm.corpus.stories.grammar import Copy, Draw, Node, Nodes
from lm.corpus.stories.words import Word


class Rest(NamedTuple):
    """What is still to be told: a linked list, so that all branches share their common continuation."""

    node: Node
    then: Optional["Rest"]


def before(nodes: Nodes, rest: Rest | None) -> Rest | None:
    """The rest with these nodes in front of it."""
    for node in reversed(nodes):
        rest = Rest(node, rest)
    return rest


class _Branch(NamedTuple):
    at: int  # how much of the text is explained
    rest: Rest | None
    memory: dict[str, Word]
    bits: tuple[float, ...]


def parse(nodes: Nodes, text: str) -> Iterator[list[float]]:
    """The bits of the choices of each derivation of a text: a story has one derivation, any other text has none."""
    branches = [_Branch(0, before(nodes, None), {}, ())]
    while branches:
        at, rest, memory, bits = branches.pop()
        if rest is None:
            if at == len(text):
                yield list(bits)
            continue
        node, rest = rest
        if isinstance(node, str):
            if text.startswith(node, at):
                branches.append(_Branch(at + len(node), rest, memory, bits))
        elif isinstance(node, Copy):
            copied = memory[node.name][node.form]
            if text.startswith(copied, at):
                branches.append(_Branch(at + len(copied), rest, memory, bits))
        elif isinstance(node, Draw):
            for word, cost in zip(node.words.words, node.words.bits, strict=True):
                drawn = word[node.form]
                if text.startswith(drawn, at):
                    branches.append(_Branch(at + len(drawn), rest, {**memory, node.name: word}, (*bits, cost)))
        else:
            for option, cost in zip(node.options, node.odds.bits, strict=True):
                branches.append(_Branch(at, before(option, rest), memory, (*bits, cost)))
