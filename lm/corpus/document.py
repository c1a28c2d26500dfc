"""Documents, and how lines of text become documents."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lm.config.special_tokens import END_OF_TEXT

SEPARATOR = END_OF_TEXT

Split = Literal["train", "valid"]


class Document(NamedTuple):
    """A text that stands alone, the split it belongs to and, where its source can tell, how surprising it is."""

    split: Split
    text: str
    bits: float | None = None  # -log2 of the exact probability of the text


@dataclass(frozen=True)
class Corpus:
    """What a source gives: documents in one pass, and facts about where they come from (for the card)."""

    documents: Iterator[Document]
    facts: dict[str, object] = field(default_factory=dict)


def split_documents(lines: Iterable[str], separator: str = SEPARATOR) -> Iterator[str]:
    """The documents in lines of text (line ends kept), where a line that holds the separator alone ends one."""
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
