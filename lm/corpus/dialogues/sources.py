"""The dialogues that a configuration asks for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogue import Dialogue
from lm.corpus.dialogues.outside import Dialogues
from lm.corpus.document import Split
from lm.corpus.files import list_inputs

# The sources are imported only where needed: loading the client of the hub takes longer than making some dialogues.


def list_dialogue_inputs(
    config: DialoguesConfig, root: Path, written: Collection[Path] = ()
) -> list[dict[str, str | int]]:
    """What `config.source` reads from outside, as `lm.corpus.sources.list_inputs` lists it for a corpus.

    Raises:
        ValueError, ConnectionError: as there.
    """
    match config.source:
        case "stories":
            return []
        case "files":
            return list_inputs(config, root, written)
        case "hub":
            from lm.corpus.dialogues.hub import pinned_commit

            return [{**pinned_commit(config)}]


def open_dialogues(
    config: DialoguesConfig,
    seed: int,
    root: Path,
    written: Collection[Path] = (),
    inputs: Sequence[Mapping[str, str | int]] = (),
) -> Dialogues:
    """The dialogues of `config.source`; arguments and errors are those of `lm.corpus.sources.open_corpus`."""
    match config.source:
        case "stories":
            facts: dict[str, object] = {
                "stories": "told anew, from random streams apart from those of the corpus",
                "validation": "a random stream of its own",
            }
            return Dialogues(_stories(config, seed), facts)
        case "files":
            from lm.corpus.dialogues.files import file_dialogues

            return file_dialogues(config, root, written)
        case "hub":
            from lm.corpus.dialogues.hub import hub_dialogues

            return hub_dialogues(config, *(str(dataset["commit"]) for dataset in inputs))


def _stories(config: DialoguesConfig, seed: int) -> Iterator[tuple[Split, Dialogue]]:
    from lm.corpus.dialogues.stories import story_dialogues

    for split in get_args(Split):
        n_dialogues = config.n_dialogues if split == "train" else config.n_valid_dialogues
        for dialogue in story_dialogues(seed, split, n_dialogues, config.max_characters):
            yield split, dialogue
