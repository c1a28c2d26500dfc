"""The corpus that a configuration asks for."""

from collections.abc import Collection
from pathlib import Path

from lm.config.data import DataConfig
from lm.corpus.document import Corpus


def open_corpus(config: DataConfig, seed: int, root: Path, written: Collection[Path] = ()) -> Corpus:
    """The corpus of `config.source`; for local files, `root` and `written` are those of `open_files`.

    Raises:
        ValueError: when the source cannot be read, at the call or during the pass.
    """
    # Imported only where needed: loading the client of the hub takes longer than making some corpora.
    match config.source:
        case "stories":
            from lm.corpus.stories import open_stories

            return open_stories(config, seed)
        case "files":
            from lm.corpus.files import open_files

            return open_files(config, root, written)
        case "hub":
            from lm.corpus.hub import open_hub

            return open_hub(config)
