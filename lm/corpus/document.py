"""Documents, and how lines of text become documents."""

from collections.abc import Iterable, Iterator
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
    """The documents of a source, which can be read once, and facts about their origin for the card."""

    documents: Iterator[Document]
    facts: dict[str, object] = field(default_factory=dict)


def split_documents(lines: Iterable[str], separator: str = SEPARATOR) -> Iterator[str]:
    """The documents in lines of text. A line that holds only the separator ends a document; line ends are kept."""
    held: list[str] = []
    for line in lines:
        if line.strip() == separator:
            if text := _joined(held):
                yield text
            held = []
        else:
            held.append(line)
    if text := _joined(held):
        yield text


def _joined(lines: list[str]) -> str:
    text = "".join(lines).strip("\r\n")
    return text if text.strip() else ""
