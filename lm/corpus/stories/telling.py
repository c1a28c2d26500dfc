"""Tells stories from a grammar: random numbers in, a text and its exact probability out."""

from bisect import bisect_right
from collections.abc import Callable
from math import fsum

from lm.corpus.stories.grammar import Copy, Draw, Nodes
from lm.corpus.stories.words import Word


def tell(nodes: Nodes, random: Callable[[], float], memory: dict[str, Word] | None = None) -> tuple[str, list[float]]:
    """A text drawn from the grammar, and the bits (-log2 p) of each choice made, in order.

    `random` gives uniform numbers in [0, 1), one for each choice. `memory` holds the words that are remembered from
    before, and is given those that this text remembers.
    """
    said: list[str] = []
    bits: list[float] = []
    _tell(nodes, random, {} if memory is None else memory, said, bits)
    return "".join(said), bits


def total_bits(bits: list[float]) -> float:
    """The sum, rounded once, so that the same choices in any order give the same number to the last bit."""
    return fsum(bits)


def _tell(
    nodes: Nodes, random: Callable[[], float], memory: dict[str, Word], said: list[str], bits: list[float]
) -> None:
    for node in nodes:
        if isinstance(node, str):
            said.append(node)
        elif isinstance(node, Copy):
            said.append(memory[node.name][node.form])
        elif isinstance(node, Draw):
            drawn = bisect_right(node.words.bounds, random())
            word = memory[node.name] = node.words.words[drawn]
            said.append(word[node.form])
            bits.append(node.words.bits[drawn])
        else:
            drawn = bisect_right(node.odds.bounds, random())
            bits.append(node.odds.bits[drawn])
            _tell(node.options[drawn], random, memory, said, bits)
