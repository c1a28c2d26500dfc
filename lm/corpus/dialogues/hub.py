"""Dialogues from datasets of the Hugging Face hub. A few have a short name; any other is named by its repository.

The `datasets` library says which files make up a configuration and its splits, and reads the rarer formats (see
`lm.corpus.hub_dataset`). The files are read as streams, one by one, each when the pass reaches it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from lm.config.dialogues import DialoguesConfig
from lm.config.outside import SplitRows
from lm.corpus.dialogues.outside import Dialogues, split_rows
from lm.corpus.dialogues.story_requests import request_rows
from lm.corpus.document import Split
from lm.corpus.hub_dataset import HubDataset, listed, parse_dataset
from lm.corpus.readers import Row
from lm.corpus.repository import Repository


@dataclass(frozen=True)
class Known:
    """A dataset with a short name: its repository, its usual configuration, and its splits.

    With `read`, the splits are names of files instead, and `read` gives the rows of a file on disk, given its place.
    """

    repository: str
    train: str
    valid: str
    configuration: str | None = None
    read: Callable[[Path, str], Iterator[Row]] | None = None


KNOWN = {
    "everyday-conversations": Known("HuggingFaceTB/everyday-conversations-llama3.1-2k", "train_sft", "test_sft"),
    "tinystories-instruct": Known(
        "roneneldan/TinyStoriesInstruct",
        "TinyStories-Instruct-train.txt",
        "TinyStories-Instruct-valid.txt",
        read=request_rows,
    ),
    "smoltalk": Known("HuggingFaceTB/smoltalk", "train", "test", "all"),
}
_REPOSITORIES = {name: known.repository for name, known in KNOWN.items()}


def hub_dialogues(config: DialoguesConfig, commit: str | None = None) -> Dialogues:
    """The dialogues of `config.dataset` at a commit; None means the commit that `config.revision` names now.

    The dataset is a name in KNOWN, a repository `org/name`, or a folder of one, `org/name/folder`. Files are downloaded
    into the cache of the hub. The facts hold the repository, the commit, the configuration, and the files of each
    split.

    Raises:
        ValueError: at the call, if the dataset, its configuration or a split is not found; in the pass, as in
            `split_rows`.
        ConnectionError: if the hub cannot be reached, at the call or during the pass.
    """
    name, folder = parse_dataset(config, _REPOSITORIES)
    known = KNOWN.get(config.dataset)
    if known is not None:
        _check_fixed(config, known)
    repository = Repository.at(name, commit or config.revision, section=config.name())
    facts: dict[str, object] = {"repository": name, "commit": repository.commit}
    if known is not None and known.read is not None:
        return _from_files(known, known.read, repository, config, facts)
    dataset = HubDataset.open(repository, folder, config.configuration or (known.configuration if known else None))
    if known is not None:
        config = config.changed(train_split=known.train, valid_split=known.valid)
    chosen = dataset.chosen(config)
    facts["configuration"] = dataset.configuration
    facts["splits"] = {split: str(rows) for split, rows in chosen.items()}
    facts["files"] = {split: dataset.splits[rows.split] for split, rows in chosen.items()}

    def read(rows: SplitRows) -> Iterator[Row]:
        found = (row for file in dataset.splits[rows.split] for row in dataset.rows(file))
        return islice(found, rows.start, rows.stop)

    valid = partial(read, chosen["valid"]) if "valid" in chosen else None
    return split_rows(partial(read, chosen["train"]), valid, config, facts)


def pinned_commit(config: DialoguesConfig) -> dict[str, str]:
    """The repository of `config.dataset`, and the commit that `config.revision` names now.

    Raises:
        ValueError, ConnectionError: as in `Repository.commit_of`.
    """
    name, _ = parse_dataset(config, _REPOSITORIES)
    return {"repository": name, "commit": Repository.commit_of(name, config.revision, config.name())}


def _from_files(
    known: Known,
    read: Callable[[Path, str], Iterator[Row]],
    repository: Repository,
    config: DialoguesConfig,
    facts: dict[str, object],
) -> Dialogues:
    files: dict[Split, str] = {"train": known.train, "valid": known.valid}
    for file in files.values():
        if file not in repository.files:
            got = f"where {repository.name} at {repository.commit[:7]} holds {listed(repository.files)}"
            raise config.wrong("dataset", f"must hold {file}, got {config.dataset!r}, {got}")
    facts["files"] = {split: [file] for split, file in files.items()}

    def rows(file: str) -> Iterator[Row]:
        return read(repository.download(file), f"{repository.name}/{file}")

    return split_rows(partial(rows, known.train), partial(rows, known.valid), config, facts)


def _check_fixed(config: DialoguesConfig, known: Known) -> None:
    """Raise ValueError for what a short name fixes: its splits, and the configuration if it has files of its own."""
    fixed = {"train_split": "train", "valid_split": None}
    if known.read is not None:
        fixed["configuration"] = None
    for parameter, usual in fixed.items():
        if (value := getattr(config, parameter)) != usual:
            rule = f"must be left as it is for {config.dataset!r}, whose splits are known"
            raise config.wrong(parameter, f"{rule}; use {known.repository} as the dataset, got {value!r}")
