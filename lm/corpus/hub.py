"""Datasets of the Hugging Face hub as a corpus. A few have a short name; any other is named by its repository.

What a short name stands for is known: its files are read without a look at the card of the repository, and without the
`datasets` library, whose import alone takes a second. For any other dataset this library says which files make up a
configuration and its splits (see `hub_dataset`). Every file is downloaded when the pass reaches it (see `repository`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from lm.config.data import DataConfig
from lm.config.outside import SplitRows
from lm.corpus.document import SEPARATOR, Corpus, Split
from lm.corpus.hub_dataset import HubDataset, listed, parse_dataset
from lm.corpus.readers import NullRows, read_texts
from lm.corpus.repository import Repository
from lm.corpus.splits import counted, split_texts


@dataclass(frozen=True)
class Known:
    """A dataset with a short name: its repository, and rows of its files. Without `valid`, some are held out.

    The split of these rows is a pattern of file names.
    """

    repository: str
    train: SplitRows
    valid: SplitRows | None = None


KNOWN = {
    "tinystories": Known(
        "roneneldan/TinyStories",
        SplitRows("TinyStoriesV2-GPT4-train.txt"),
        SplitRows("TinyStoriesV2-GPT4-valid.txt"),
    ),
    "tinystories-v1": Known(
        "roneneldan/TinyStories", SplitRows("data/train-*.parquet"), SplitRows("data/validation-*.parquet")
    ),
    # Its card proposes these rows; the first ten thousand are for a test.
    "tinystories-clean": Known(
        "karpathy/tinystories-gpt4-clean",
        SplitRows("tinystories_gpt4_clean.parquet", 20_000),
        SplitRows("tinystories_gpt4_clean.parquet", 10_000, 20_000),
    ),
    "owt-sample": Known("stanford-cs336/owt-sample", SplitRows("owt_train.txt.gz"), SplitRows("owt_valid.txt.gz")),
    "owt": Known("Skylion007/openwebtext", SplitRows("plain_text/*.parquet")),
}
_REPOSITORIES = {name: known.repository for name, known in KNOWN.items()}


@dataclass(frozen=True)
class _Part:
    """Files of one split, the rows of them that are meant, and how one of the files is read."""

    files: list[str]
    rows: SplitRows
    nulls: NullRows
    read: Callable[[str, NullRows], Iterator[str]]

    def texts(self) -> Iterator[str]:
        self.nulls.n_skipped = 0
        texts = (text for file in self.files for text in self.read(file, self.nulls))
        return islice(texts, self.rows.start, self.rows.stop)


def open_hub(config: DataConfig, commit: str | None = None) -> Corpus:
    """The documents of `config.dataset` at a commit; None means the commit that `config.revision` names now.

    The dataset is a name in KNOWN, a repository `org/name`, or a folder of one, `org/name/folder`. Files are downloaded
    into the cache of the hub one by one, each when the pass reaches it. The facts hold the repository, the commit, the
    files of each split, and for any but the known datasets the configuration and the splits. With `config.null_rows`
    skip, they also hold the number of rows that the pass has skipped.

    Raises:
        ValueError: at the call, if the dataset, its configuration or a split is not found; in the pass, as in
            `open_files`.
        ConnectionError: if the hub cannot be reached, at the call or during the pass.
    """
    name, folder = parse_dataset(config, _REPOSITORIES)
    repository = Repository.at(name, commit or config.revision)
    facts: dict[str, object] = {"repository": name, "commit": repository.commit}
    if config.dataset in KNOWN:
        parts = _known_parts(config, repository)
    else:
        dataset = HubDataset.open(repository, folder, config.configuration)
        parts = _parts(config, dataset)
        facts["configuration"] = dataset.configuration
        facts["splits"] = {split: str(part.rows) for split, part in parts.items()}
    facts["files"] = {split: part.files for split, part in parts.items()}
    valid = parts["valid"].texts if "valid" in parts else None
    nulls = [part.nulls for part in parts.values()]
    return Corpus(counted(split_texts(parts["train"].texts, valid, config, facts), nulls, facts), facts)


def pinned_commit(config: DataConfig) -> dict[str, str]:
    """The repository of `config.dataset`, and the commit that `config.revision` names now.

    Raises:
        ValueError, ConnectionError: as in `Repository.commit_of`.
    """
    name, _ = parse_dataset(config, _REPOSITORIES)
    return {"repository": name, "commit": Repository.commit_of(name, config.revision)}


def _known_parts(config: DataConfig, repository: Repository) -> dict[Split, _Part]:
    fixed = {
        "configuration": config.configuration,
        "valid_split": config.valid_split,
        "train_split": config.train_split,
    }
    for parameter, value in fixed.items():
        if value not in (None, "train"):
            rule = f"must be left as it is for {config.dataset!r}, which names its own files"
            raise config.wrong(parameter, f"{rule}; use {repository.name} as the dataset, got {value!r}")

    def read(file: str, nulls: NullRows) -> Iterator[str]:
        path, place = repository.download(file), f"{repository.name}/{file}"
        return read_texts(path, place, "text", SEPARATOR, nulls)

    known = KNOWN[config.dataset]
    parts: dict[Split, _Part] = {}
    wanted: dict[Split, SplitRows | None] = {"train": known.train, "valid": known.valid}
    for split, rows in wanted.items():
        if rows is not None:
            files = [file for file in repository.files if fnmatchcase(file, rows.split)]
            if not files:
                got = f"where {repository.name} at {repository.commit[:7]} holds {listed(repository.files)}"
                raise config.wrong("dataset", f"must hold {rows.split}, got {config.dataset!r}, {got}")
            parts[split] = _Part(files, rows, _null_rows(config), read)
    return parts


def _parts(config: DataConfig, dataset: HubDataset) -> dict[Split, _Part]:
    def read(file: str, nulls: NullRows) -> Iterator[str]:
        return dataset.texts(file, config.text_column, config.separator, nulls)

    return {
        split: _Part(dataset.splits[rows.split], rows, _null_rows(config), read)
        for split, rows in dataset.chosen(config).items()
    }


def _null_rows(config: DataConfig) -> NullRows:
    return NullRows(skip=config.null_rows == "skip")
