"""The corpus that a configuration asks for."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lm.config.data import DataConfig
from lm.corpus.document import Corpus

# The sources are imported only where needed: loading the client of the hub takes longer than making some corpora.


def list_inputs(config: DataConfig, root: Path, written: Collection[Path] = ()) -> list[dict[str, str | int]]:
    """What `config.source` reads from outside: each local file with its hash, or the commit of a dataset of the hub.

    Runs are compared by this list, and `open_corpus` reads what it names. For local files, `root` and `written` are
    those of `open_files`.

    Raises:
        ValueError: for local files or a dataset that is not there.
        ConnectionError: if the hub cannot be reached.
    """
    match config.source:
        case "stories":
            return []
        case "files":
            from lm.corpus import files

            return files.list_inputs(config, root, written)
        case "hub":
            from lm.corpus.hub import pinned_commit

            return [{**pinned_commit(config)}]


def open_corpus(
    config: DataConfig,
    seed: int,
    root: Path,
    written: Collection[Path] = (),
    inputs: Sequence[Mapping[str, str | int]] = (),
) -> Corpus:
    """The corpus of `config.source`; for local files, `root` and `written` are those of `open_files`.

    `inputs` is what `list_inputs` gave. Without it, a dataset of the hub is read as it is now.

    Raises:
        ValueError: when the source cannot be read, at the call or during the pass.
    """
    match config.source:
        case "stories":
            from lm.corpus.stories import open_stories

            return open_stories(config, seed)
        case "files":
            from lm.corpus.files import open_files

            return open_files(config, root, written)
        case "hub":
            from lm.corpus.hub import open_hub

            return open_hub(config, *(str(dataset["commit"]) for dataset in inputs))
