"""Get the dialogues that a chat model learns from: made up by the grammar that tells the built-in stories.

Both splits become files with one `{"messages": [{"role", "content"}, ...]}` a line. Where the right answers are known,
`checks` stands beside the messages. The card counts dialogues, messages and characters, and questions by kind.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

from tqdm import tqdm

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogue import Dialogue, write_dialogues
from lm.corpus.dialogues.stories import story_dialogues
from lm.corpus.document import Split
from lm.system.files import write_json
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write both splits."""
    config, seed = stage.section(DialoguesConfig), stage.seed()
    card: dict[str, Any] = {"source": config.source}
    with tqdm(desc="dialogues", unit=" dialogues", disable=None) as bar:
        for split in get_args(Split):
            n_dialogues = config.n_dialogues if split == "train" else config.n_valid_dialogues
            counts = Counter[str]()
            dialogues = story_dialogues(seed, split, n_dialogues, config.max_characters)
            write_dialogues(stage.path(split), _counted(dialogues, counts, bar))
            kinds = {kind.removeprefix("of "): n for kind, n in sorted(counts.items()) if kind.startswith("of ")}
            card[split] = {name: counts[name] for name in _COUNTED} | {"questions": kinds}
    write_json(stage.path("card"), card)


_COUNTED = ("n_dialogues", "n_messages", "n_characters")


def _counted(dialogues: Iterator[Dialogue], counts: Counter[str], bar: "tqdm[Any]") -> Iterator[Dialogue]:
    """The dialogues, which are counted as they pass."""
    for dialogue in dialogues:
        characters = sum(len(message.content) for message in dialogue.messages)
        counts.update(n_dialogues=1, n_messages=len(dialogue.messages), n_characters=characters)
        counts.update(f"of {check.kind}" for check in dialogue.checks)
        yield dialogue
        bar.update()


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={},
        outs={
            "train": "JSON lines: the dialogues to learn from",
            "valid": "JSON lines: other dialogues, to validate on",
            "card": "JSON: their origin, counts, and questions by kind",
        },
    )
