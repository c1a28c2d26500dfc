"""Documents, and how a text becomes documents."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lm.config.special_tokens import END_OF_TEXT

SEPARATOR = END_OF_TEXT

Split = Literal["train", "valid"]


class Document(NamedTuple):
    """A text that stands alone, its split and, if the source knows it, the information of the text in bits."""

    split: Split
    text: str
    bits: float | None = None  # -log2 of the exact probability of the text


@dataclass(frozen=True)
class Corpus:
    """The documents of a source, which can be read once, and facts about their origin for the card.

    The facts are complete when the last document has been taken.
    """

    documents: Iterator[Document]
    facts: dict[str, object] = field(default_factory=dict)


def split_documents(text: str) -> Iterator[str]:
    """The documents in a text. The separator ends a document wherever it stands; what is blank is none."""
    yield from filter(None, map(bare, text.split(SEPARATOR)))


def bare(text: str, start: int = 0, end: int | None = None) -> str:
    """A part of a text without outer line breaks; an empty string if it is blank. A long part is copied only once."""
    end = len(text) if end is None else end
    while start < end and text[start] in "\r\n":
        start += 1
    while start < end and text[end - 1] in "\r\n":
        end -= 1
    part = text[start:end]
    return "" if part.isspace() else part
