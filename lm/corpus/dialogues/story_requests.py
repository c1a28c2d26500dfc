"""The records of TinyStories-Instruct as dialogues: somebody asks for a story, and the assistant tells it.

A record ends at a line `<|endoftext|>`. Its fields (Words, Features, Summary, Random sentence, Story) come in any
order, and some may be missing. See Eldan and Li 2023, https://arxiv.org/abs/2305.07759, on TinyStories-Instruct.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm.corpus.document import SEPARATOR, split_documents
from lm.corpus.readers import Row, read_texts

_FIELD = re.compile(r"^(Words|Features|Summary|Random sentence|Story):", re.MULTILINE)
# What the names of features mean.
_FEATURES = {
    "Dialogue": "a dialogue",
    "BadEnding": "a bad ending",
    "MoralValue": "a moral",
    "Twist": "a twist",
    "Foreshadowing": "foreshadowing",
    "Conflict": "a conflict",
}


def request_rows(path: Path, place: str) -> Iterator[Row]:
    """A row with messages for each record of a file. Checks tell the words that the story was asked to use and does.

    A record without a story becomes a row without messages.
    """
    records = (record for text in read_texts(path, place, "text", SEPARATOR) for record in split_documents(text))
    for number, record in enumerate(records):
        yield f"{place}: record {number}", _row(record)


def _row(record: str) -> dict[str, Any]:
    _, *parts = _FIELD.split(record)
    fields = {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    story = fields.get("Story")
    if not story:
        return {"messages": []}
    words = _listed(fields.get("Words", ""))
    used = [word for word in words if re.search(rf"\b{re.escape(word)}\b", story, re.IGNORECASE)]
    messages = [{"role": "user", "content": _wish(fields, words)}, {"role": "assistant", "content": story}]
    return {"messages": messages, "checks": [{"message": 1, "kind": "words", "words": used}] if used else []}


def _wish(fields: dict[str, str], words: list[str]) -> str:
    """The fields as what somebody says who asks for the story."""
    wish = "Tell me a story."
    if words:
        wish = f"Tell me a story with the {'words' if len(words) > 1 else 'word'} {_joined(words)}."
    if features := _listed(fields.get("Features", "")):
        wish += f" It should have {_joined([_FEATURES.get(name, name) for name in features])}."
    if summary := fields.get("Summary"):
        wish += f" This is what happens in it: {summary}"
    if sentence := fields.get("Random sentence"):
        wish += f" One of its sentences is: {sentence}"
    return wish


def _listed(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip())]


def _joined(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
