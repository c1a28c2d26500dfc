"""Datasets of the Hugging Face hub as a corpus. A few have a short name; any other is named by its repository.

Files are listed and downloaded through `huggingface_hub` (see `repository`), and read by the readers of local files.
The `datasets` library is not used here: it either converts everything to Arrow on disk first or streams without
keeping a copy, it cannot resume an interrupted download, and it does not split text at separator lines. The tests use
it as the oracle for what a repository holds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePosixPath

from lm.config.data import DataConfig
from lm.corpus.document import SEPARATOR, Corpus
from lm.corpus.readers import SUFFIXES, read_texts, suffix_of
from lm.corpus.repository import Repository
from lm.corpus.splits import split_texts


@dataclass(frozen=True)
class Known:
    """A dataset with a short name: its repository and patterns of its files. Without `valid`, some are held out."""

    repository: str
    train: str
    valid: str | None = None


KNOWN = {
    "tinystories": Known("roneneldan/TinyStories", "TinyStoriesV2-GPT4-train.txt", "TinyStoriesV2-GPT4-valid.txt"),
    "tinystories-v1": Known("roneneldan/TinyStories", "data/train-*.parquet", "data/validation-*.parquet"),
    "owt-sample": Known("stanford-cs336/owt-sample", "owt_train.txt.gz", "owt_valid.txt.gz"),
    "owt": Known("Skylion007/openwebtext", "plain_text/*.parquet"),
}

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
FORMATS = (".parquet", ".jsonl", ".jsonl.gz", ".txt", ".txt.gz")  # only the first that a repository has is read


def open_hub(config: DataConfig) -> Corpus:
    """The documents of `config.dataset` at `config.revision`; None means the main branch.

    The dataset is a name in KNOWN or a repository `org/name`. If several folders of a repository hold training files,
    the dataset is one of these folders, `org/name/folder`. Files are downloaded into the cache of the hub one by one,
    each when the pass reaches it. The facts hold the repository, the commit that the revision names, and the files.

    Raises:
        ValueError: at the call, if the dataset or its training files are not found; in the pass, as in `open_files`.
        ConnectionError: if the hub cannot be reached, at the call or during the pass.
    """
    known = KNOWN.get(config.dataset)
    if known is not None:
        repository = Repository.at(known.repository, config.revision)
        files = {
            "train": _matching(repository.files, known.train),
            "valid": _matching(repository.files, known.valid) if known.valid else [],
        }
    else:
        name, folder = _parse(config.dataset)
        repository = Repository.at(name, config.revision)
        files = split_files(repository.files, name, folder)
    if not files["train"]:
        raise ValueError(_nothing_found(config.dataset, repository))

    def read(split: str) -> Iterator[str]:
        for file in files[split]:
            place = f"{repository.name}/{file}"
            if known is None:
                yield from read_texts(repository.download(file), place, config.text_column, config.separator)
            else:
                yield from read_texts(repository.download(file), place, "text", SEPARATOR)

    valid = partial(read, "valid") if files["valid"] else None
    names = {split: names for split, names in files.items() if names}
    facts: dict[str, object] = {"repository": repository.name, "commit": repository.commit, "files": names}
    return Corpus(split_texts(partial(read, "train"), valid, config, facts), facts)


def split_files(files: tuple[str, ...], repository: str, folder: str = "") -> dict[str, list[str]]:
    """The files of a repository for training and for validation, sorted. A word of SPLIT_WORDS names the split.

    The word is looked for in the name of a file, then in its folders, the innermost first. If no path has such a word,
    all files are for training. Files of unknown formats are ignored. If the training files have several formats, only
    one format is read: the first in FORMATS.

    Raises:
        ValueError: if training files lie in several folders. Folders named by a split do not count.
    """
    readable = [file for file in sorted(files) if suffix_of(file) and _within(_home(file), folder)]
    splits = {file: _split_of(file) for file in readable}
    if not any(splits.values()):
        splits = dict.fromkeys(readable, "train")
    formats = {suffix_of(file) for file, split in splits.items() if split == "train"}
    taken = next((suffix for suffix in FORMATS if suffix in formats), None)
    train = [file for file, split in splits.items() if split == "train" and suffix_of(file) == taken]
    homes = sorted({_home(file) for file in train})
    if len(homes) > 1:
        some = ", ".join(repr(f"{repository}/{home}") for home in homes[:8])
        got = "/".join(filter(None, (repository, folder)))
        raise ValueError(f"data.dataset: must name one of {len(homes)} folders, such as {some}, got {got!r}")
    valid = [
        file for file, split in splits.items() if split == "valid" and suffix_of(file) == taken and _home(file) in homes
    ]
    return {"train": train, "valid": valid}


def _split_of(file: str) -> str | None:
    for part in reversed(PurePosixPath(file).parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def _home(file: str) -> str:
    """The folder of a file, without the folders that name a split."""
    return "/".join(part for part in PurePosixPath(file).parts[:-1] if part.lower() not in SPLIT_WORDS)


def _within(home: str, folder: str) -> bool:
    return not folder or f"{home}/".startswith(f"{folder}/")


def _matching(files: tuple[str, ...], pattern: str) -> list[str]:
    return [file for file in files if fnmatchcase(file, pattern)]


def _parse(dataset: str) -> tuple[str, str]:
    """Repository and folder of a dataset without a short name."""
    parts = dataset.strip("/").split("/")
    if len(parts) < 2 or not all(parts):
        names = ", ".join(KNOWN)
        raise ValueError(f"data.dataset: must be one of {names}, or a repository as 'org/name', got {dataset!r}")
    return "/".join(parts[:2]), "/".join(parts[2:])


def _nothing_found(dataset: str, repository: Repository) -> str:
    shown = ", ".join(repository.files[:20]) or "nothing"
    more = f" and {len(repository.files) - 20} more" if len(repository.files) > 20 else ""
    return (
        f"data.dataset: must hold training files ({', '.join(SUFFIXES)}), got {dataset!r}, "
        f"where {repository.name} at {repository.commit[:7]} holds {shown}{more}"
    )
