"""Dialogues from local files: .json, .jsonl, .ndjson, each also compressed, and .parquet."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogues.outside import Dialogues, split_rows
from lm.corpus.files import InputFile, match_files
from lm.corpus.readers import Row, read_rows


def file_dialogues(config: DialoguesConfig, root: Path, written: Collection[Path] = ()) -> Dialogues:
    """The dialogues of the files that `config.train` and `config.valid` name, as `lm.corpus.files.open_files` takes it.

    Raises:
        ValueError: at the call, as `match_files`; during the pass, for what breaks its format, as `split_rows`.
    """
    files = match_files(config, root, written)
    facts: dict[str, object] = {
        "files": {split: [file.path.name for file in found] for split, found in files.items() if found}
    }
    valid = partial(_rows, files["valid"]) if config.valid else None
    return split_rows(partial(_rows, files["train"]), valid, config, facts)


def _rows(files: Sequence[InputFile]) -> Iterator[Row]:
    for file in files:
        yield from read_rows(file.path, str(file.path))
