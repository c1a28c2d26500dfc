"""Proves that no text of a grammar has two derivations, for all its stories at once.

If a text had two derivations, these would part at some choice, and both options would lead to the same text. So it is
enough to show for each choice that no two options, each with all that may follow it, can write the same text. The proof
compares the next `LOOKAHEAD` characters, and a copy stands for any word that it might be a copy of. So the proof may
reject a good grammar, but it never accepts a bad one.
"""

from collections.abc import Iterator
from itertools import combinations

from lm.corpus.stories.grammar import ANONYMOUS, Copy, Draw, Node, Nodes
from lm.corpus.stories.parsing import Rest, before

LOOKAHEAD = 80


def clashes(nodes: Nodes) -> Iterator[str]:
    """A line for each pair of options that can start with the same text; none if the grammar is unambiguous."""
    sources: dict[str, list[Draw]] = {}
    _collect(nodes, sources)
    proof = _Proof(sources)
    yield from proof.check(nodes, None, frozenset())


def _collect(nodes: Nodes, sources: dict[str, list[Draw]]) -> None:
    for node in nodes:
        if isinstance(node, Draw):
            sources.setdefault(node.name, []).append(node)
        elif not isinstance(node, str | Copy):
            for option in node.options:
                _collect(option, sources)


class _Proof:
    def __init__(self, sources: dict[str, list[Draw]]) -> None:
        self._sources = sources
        self._copies: dict[Copy, list[str]] = {}

    def check(self, nodes: Nodes, after: Rest | None, known: frozenset[str]) -> Iterator[str]:
        """The clashes in a sequence; `known` are the names that are remembered when it starts."""
        for at, node in enumerate(nodes):
            rest = before(nodes[at + 1 :], after)
            if isinstance(node, Copy):
                if node.name not in known:
                    yield f"{node}: copied before it is drawn"
            elif isinstance(node, Draw):
                if node.name in known and node.name != ANONYMOUS:
                    yield f"{node.name}: drawn twice"
                texts = sorted(word[node.form] for word in node.words.words)
                for here, text in enumerate(texts):
                    for other in texts[here + 1 :]:
                        if not other.startswith(text):
                            break
                        if self._agree(text, rest, other, rest, known, LOOKAHEAD):
                            yield f"{text!r} and {other!r} of one list"
                known |= {node.name}
            elif not isinstance(node, str):
                ways = [before(option, rest) for option in node.options]
                for (first, way), (second, other_way) in combinations(zip(node.options, ways, strict=True), 2):
                    if self._agree("", way, "", other_way, known, LOOKAHEAD):
                        yield f"{_show(first)} and {_show(second)}"
                for option in node.options:
                    yield from self.check(option, rest, known)
                known |= frozenset.intersection(*(_bound(option) for option in node.options))

    def _agree(
        self, a: str, a_rest: Rest | None, b: str, b_rest: Rest | None, known: frozenset[str], left: int
    ) -> bool:
        """Whether two continuations can write the same `left` characters (or the same text to the end)."""
        shared = min(len(a), len(b))
        if a[:shared] != b[:shared]:
            return False
        a, b, left = a[shared:], b[shared:], left - shared
        if left <= 0:
            return True
        if a:
            return self._agree(b, b_rest, a, a_rest, known, left)
        if a_rest is None:  # this text ends here: the other must end too, but may go on with nodes that write nothing
            return not b and (b_rest is None or self._agree(b, b_rest, a, a_rest, known, left))
        node, then = a_rest
        same_copy = not b and b_rest is not None and b_rest.node == node and isinstance(node, Copy)
        if same_copy and isinstance(node, Copy) and node.name in known and b_rest is not None:
            return self._agree("", then, "", b_rest.then, known, left - 1)
        return any(self._agree(text, rest, b, b_rest, known, left) for text, rest in self._expand(node, then))

    def _expand(self, node: Node, then: Rest | None) -> Iterator[tuple[str, Rest | None]]:
        if isinstance(node, str):
            yield node, then
        elif isinstance(node, Draw):
            yield from ((word[node.form], then) for word in node.words.words)
        elif isinstance(node, Copy):
            if node not in self._copies:
                draws = self._sources[node.name]
                self._copies[node] = sorted(
                    {w[node.form] for draw in draws for w in draw.words.words if node.form in w}
                )
            yield from ((text, then) for text in self._copies[node])
        else:
            yield from (("", before(option, then)) for option in node.options)


def _bound(nodes: Nodes) -> frozenset[str]:
    """The names that a sequence remembers whichever options it takes."""
    names: frozenset[str] = frozenset()
    for node in nodes:
        if isinstance(node, Draw):
            names |= {node.name}
        elif not isinstance(node, str | Copy):
            names |= frozenset.intersection(*(_bound(option) for option in node.options))
    return names


def _show(nodes: Nodes) -> str:
    return repr(nodes[:3])
