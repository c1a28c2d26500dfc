"""What the tests of dialogues share."""

from typing import Any

from ruamel.yaml import YAML

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogue import Dialogue
from lm.corpus.dialogues.outside import Dialogues
from lm.corpus.document import Split
from tests.project import ROOT

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["dialogues"]


def dialogues_config(**changes: Any) -> DialoguesConfig:
    """The section of params.yaml with some parameters changed."""
    return DialoguesConfig.parse(PARAMS | changes)


def row(*texts: str) -> dict[str, Any]:
    """A row of messages, of user and assistant in turn."""
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]}


def said(dialogue: Dialogue) -> list[str]:
    """The texts of a dialogue."""
    return [message.content for message in dialogue.messages]


def by_split(dialogues: Dialogues) -> dict[Split, list[list[str]]]:
    """The texts of all dialogues of a source by split, in order."""
    found: dict[Split, list[list[str]]] = {"train": [], "valid": []}
    for split, dialogue in dialogues.dialogues:
        found[split].append(said(dialogue))
    return found
