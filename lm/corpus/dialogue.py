"""Dialogues: messages of a user and an assistant in turn, and the one format for them on disk.

A file has one JSON object a line, in the form that the field uses: `{"messages": [{"role", "content"}, ...]}`. Where
the right answers are known, `checks` stands beside the messages.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from lm.system.files import replacing

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """What one of the two says, or what the system tells the assistant before they begin."""

    role: Role
    content: str


@dataclass(frozen=True)
class Check:
    """What is known of a right answer.

    Attributes:
        message: the place of the answer among the messages, from 0 on.
        kind: of the question, such as `who` or `story`.
        answers: each of these texts is right; empty if the answer is free, as that to a wish for a story is.
        words: a right answer uses each of these words or phrases.
    """

    message: int
    kind: str
    answers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """An optional system message, then messages of user and assistant in turn."""

    messages: tuple[Message, ...]
    checks: tuple[Check, ...] = ()

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """The dialogue of a line of a file that `write_dialogues` has written."""
        messages = (Message(message["role"], message["content"]) for message in row["messages"])
        checks = (
            Check(check["message"], check["kind"], tuple(check["answers"]), tuple(check["words"]))
            for check in row.get("checks", ())
        )
        return cls(tuple(messages), tuple(checks))

    def as_json(self) -> dict[str, Any]:
        """The line of the dialogue as a JSON object."""
        values = asdict(self)
        return values if self.checks else {"messages": values["messages"]}


def dialogue_line(dialogue: Dialogue) -> bytes:
    """The line of a dialogue in a file, with its end."""
    return json.dumps(dialogue.as_json(), ensure_ascii=False).encode() + b"\n"


def write_dialogues(path: Path, dialogues: Iterable[Dialogue]) -> int:
    """Write dialogues, one a line, and return how many there are. The file appears whole or not at all."""
    n_dialogues = 0
    with replacing(path) as file:
        for dialogue in dialogues:
            file.write(dialogue_line(dialogue))
            n_dialogues += 1
    return n_dialogues


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """The dialogues that `write_dialogues` has written, one by one."""
    with path.open("rb") as lines:  # by bytes, because str.splitlines knows more line ends than \\n
        for line in lines:
            yield Dialogue.of(json.loads(line))
