"""Compiles story templates to a grammar: a tree of fixed texts, copies, draws and choices.

The marks of a template:

    {toy=TOYS}        draw a word from the list TOYS, write it, and remember it as `toy`
    {TOYS}            draw a word and write it
    {toy} {Toy}       write the remembered word again, the second time with a capital
    {a toy} {A toy}   ... with the article it needs; also in front of a draw
    {friend.he}       a field of the word: a pronoun here, a column of a table elsewhere
    {he} {His}        short for {hero.he} and {hero.His}; the names he, his, him, himself stand for she, her, ... too
    (red|blue|)       choose one; the first is the most likely; an option may be empty or hold other marks
    <ending>          put the fragment of that name here

A line break is a blank. Just inside brackets and around bars it is left out. An empty line starts a paragraph.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lm.corpus.stories.words import PRONOUNS, Weighted, WordList


class Copy(NamedTuple):
    """Writes a form of a remembered word."""

    name: str
    form: str


class Draw(NamedTuple):
    """Draws a word, writes a form of it and remembers it under a name."""

    words: WordList
    name: str
    form: str


class Choice(NamedTuple):
    """Goes on with one of several sequences."""

    odds: Weighted
    options: "tuple[Nodes, ...]"


Node = str | Copy | Draw | Choice
Nodes = tuple[Node, ...]

ANONYMOUS = "_"  # the name of a draw that is not copied

_TOKEN = re.compile(r"\{[^{}]*\}|<\w+>|[(|)]|[^{}<>(|)]+")
_SLOT = re.compile(r"\{(?P<article>[aA] )?(?:(?P<bind>\w+)=)?(?P<name>\w+)(?:\.(?P<field>\w+))?\}")


class Grammar:
    """Compiles templates that share one lexicon and one set of fragments."""

    def __init__(self, lexicon: Mapping[str, WordList], fragments: Mapping[str, str]) -> None:
        self._lexicon = lexicon
        self._fragments = fragments

    def compile(self, template: str) -> Nodes:
        """The nodes of a template.

        Raises:
            ValueError: for a mark that cannot be read, or a list or fragment that does not exist.
        """
        tokens = _TOKEN.findall(_fold(template))
        if "".join(tokens) != _fold(template):
            raise ValueError(f"a mark is not closed in {template!r}")
        stream = iter([*tokens, ""])
        nodes, end = self._sequence(stream)
        if end:
            raise ValueError(f"brackets do not match, {end!r} is left over in {template!r}")
        return nodes

    def _sequence(self, stream: Iterator[str]) -> tuple[Nodes, str]:
        """Nodes up to the token that ends them, and that token."""
        nodes: list[Node] = []
        for token in stream:
            if token in ("|", ")", ""):
                return tuple(nodes), token
            if token == "(":
                nodes.append(self._choice(stream))
            elif token[0] == "{":
                nodes.append(self._slot(token))
            elif token[0] == "<":
                if token[1:-1] not in self._fragments:
                    raise ValueError(f"{token}: no such fragment")
                nodes.extend(self.compile(self._fragments[token[1:-1]]))
            else:
                nodes.append(token)
        raise AssertionError("the stream ends with an empty token")

    def _choice(self, stream: Iterator[str]) -> Choice:
        options, end = [], "|"
        while end == "|":
            option, end = self._sequence(stream)
            options.append(option)
        if end != ")":
            raise ValueError("brackets do not match, ')' is missing")
        return choice(options)

    def _slot(self, token: str) -> Copy | Draw:
        match = _SLOT.fullmatch(token)
        if not match:
            raise ValueError(f"{token}: must look like {{toy}}, {{a toy}}, {{toy.field}} or {{toy=TOYS}}")
        article, bind, name, field = match.group("article", "bind", "name", "field")
        if name.lower() in PRONOUNS["he"]:
            name, field = "hero", name
        field = field or ""
        shown = field or bind or name
        capital = shown[0].isupper() and not shown.isupper()
        form = (article or "^" * capital) + field.lower()
        if not name.isupper():
            return Copy(name.lower(), form)
        if name not in self._lexicon:
            raise ValueError(f"{token}: no such list")
        return Draw(self._lexicon[name], (bind or ANONYMOUS).lower(), form)


def choice(options: Sequence[Nodes], weights: Sequence[float] | None = None) -> Choice:
    """A choice among sequences, with the weights of a word list unless others are given."""
    return Choice(Weighted(len(options), weights), tuple(options))


def _fold(template: str) -> str:
    """The template as one line, with a blank line between paragraphs."""
    text = re.sub(r"[ ]*\n[ ]*", "\n", template).strip("\n")
    text = re.sub(r"(?<=[(|])\n+|\n+(?=[|)])", "", text)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)
