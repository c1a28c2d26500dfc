"""Get the dialogues that a chat model learns from: made up by the built-in grammar, from files, or from the hub.

Both splits become files with one `{"messages": [{"role", "content"}, ...]}` a line. Where the right answers are known,
`checks` stands beside the messages. The card says where the dialogues come from, and counts dialogues, messages,
characters and, by kind, the answers that are known.
"""

import sys
from collections import Counter
from contextlib import ExitStack
from typing import get_args

from tqdm import tqdm

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogue import Dialogue, dialogue_line
from lm.corpus.dialogues.sources import list_dialogue_inputs, open_dialogues
from lm.corpus.document import Split
from lm.system.files import read_json, replacing, write_json
from stages.pipeline import written_paths
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write both splits in one pass over the source."""
    config, seed = stage.section(DialoguesConfig), stage.seed()
    root = repository_root()
    written = written_paths(root)
    listed = read_json(stage.path("dialogue_inputs"))
    source = open_dialogues(config, seed, root, written, listed)
    counts = {split: Counter[str]() for split in get_args(Split)}
    with ExitStack() as opened, tqdm(desc="dialogues", unit=" dialogues", disable=None) as bar:
        files = {split: opened.enter_context(replacing(stage.path(split))) for split in get_args(Split)}
        for split, dialogue in source.dialogues:
            files[split].write(dialogue_line(dialogue))
            _count(dialogue, counts[split])
            bar.update()
        if config.source == "files" and list_dialogue_inputs(config, root, written) != listed:
            raise ValueError("dialogues: the files must not change after stage `inputs` has listed them; run it again")
    if n_both := source.facts.get("n_valid_dialogues_in_train"):
        n_valid = counts["valid"]["n_dialogues"]
        print(f"warning: {n_both} of {n_valid} validation dialogues are in the training dialogues too", file=sys.stderr)
    cards = {split: _card(counts[split]) for split in get_args(Split)}
    write_json(stage.path("card"), {"source": config.source, **source.facts, **cards})


_COUNTED = ("n_dialogues", "n_messages", "n_characters")


def _count(dialogue: Dialogue, counts: Counter[str]) -> None:
    characters = sum(len(message.content) for message in dialogue.messages)
    counts.update(n_dialogues=1, n_messages=len(dialogue.messages), n_characters=characters)
    counts.update(f"of {check.kind}" for check in dialogue.checks)


def _card(counts: Counter[str]) -> dict[str, object]:
    kinds = {kind.removeprefix("of "): n for kind, n in sorted(counts.items()) if kind.startswith("of ")}
    return {name: counts[name] for name in _COUNTED} | {"questions": kinds}


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={"dialogue_inputs": "the files, or the commit of a dataset, that stage `inputs` has listed"},
        outs={
            "train": "JSON lines: the dialogues to learn from",
            "valid": "JSON lines: other dialogues, to validate on",
            "card": "JSON: their origin, counts, and questions by kind",
        },
    )
