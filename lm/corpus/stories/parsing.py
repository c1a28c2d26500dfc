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


class Breach(NamedTuple):
    """Where a text leaves the grammar: after how many characters, and what could stand there."""

    at: int
    expected: tuple[Node, ...]


def parse(nodes: Nodes, text: str) -> Iterator[list[float]]:
    """The bits of the choices of each derivation of a text: a story has one derivation, any other text has none."""
    branches = [_Branch(0, before(nodes, None), {}, ())]
    while branches:
        branch = branches.pop()
        if branch.rest is None:
            if branch.at == len(text):
                yield list(branch.bits)
            continue
        branches += (after for written, after in _ways(branch) if text.startswith(written, branch.at))


def breach(nodes: Nodes, text: str, *, ended: bool) -> Breach | None:
    """How far the grammar follows a text that is no story of it; None for a story.

    Of a text that has `ended`, the beginning of a story is no story: it is left at its end. Of one that was cut off, it
    is as good as a story.
    """
    branches = [_Branch(0, before(nodes, None), {}, ())]
    furthest, expected = 0, list[Node]()
    while branches:
        branch = branches.pop()
        if branch.rest is None:
            if branch.at == len(text):
                return None
            if branch.at >= furthest:
                furthest, expected = branch.at, []
            continue
        for written, after in _ways(branch):
            if text.startswith(written, branch.at):
                branches.append(after)
                continue
            reached = branch.at + _shared(written, text[branch.at : after.at])
            if reached == len(text) and not ended:
                return None
            if reached > furthest:
                furthest, expected = reached, []
            if reached == furthest and branch.rest.node not in expected:
                expected.append(branch.rest.node)
    return Breach(furthest, tuple(expected))


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin with together."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _ways(branch: _Branch) -> Iterator[tuple[str, _Branch]]:
    """What the next node of a branch can write, and the branch after it."""
    at, rest, memory, bits = branch
    assert rest is not None
    node, rest = rest
    if isinstance(node, str):
        yield node, _Branch(at + len(node), rest, memory, bits)
    elif isinstance(node, Copy):
        copied = memory[node.name][node.form]
        yield copied, _Branch(at + len(copied), rest, memory, bits)
    elif isinstance(node, Draw):
        for word, cost in zip(node.words.words, node.words.bits, strict=True):
            drawn = word[node.form]
            yield drawn, _Branch(at + len(drawn), rest, {**memory, node.name: word}, (*bits, cost))
    else:
        for option, cost in zip(node.options, node.odds.bits, strict=True):
            yield "", _Branch(at, before(option, rest), memory, (*bits, cost))
