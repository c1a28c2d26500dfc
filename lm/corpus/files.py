"""Local files as a corpus. This module imports little, because the pipeline lists the files at every run."""

import glob
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lm.config.data import DataConfig, resolve
from lm.corpus.document import Corpus, Split
from lm.corpus.readers import SUFFIXES, read_texts, suffix_of
from lm.corpus.splits import split_texts


def open_files(config: DataConfig, root: Path) -> Corpus:
    """The documents of the files that `config.train` and `config.valid` name; relative paths start at `root`.

    Every entry is a path or a pattern (`*`, `?`, `[...]`, and `**` for any folders). Files come in the order of the
    entries. The files of one pattern are sorted, and each file is read once. Without `config.valid`, a part of the
    training documents is held out (see `split_texts`).

    Raises:
        ValueError: at the call, for an entry that matches no file; during the pass, for a file that breaks its format.
    """
    files = _match(config, root)
    train = partial(_read, files["train"], config)
    valid = partial(_read, files["valid"], config) if config.valid else None
    facts: dict[str, object] = {
        "files": {split: [path.name for path in paths] for split, paths in files.items() if paths}
    }
    return Corpus(split_texts(train, valid, config, facts), facts)


def list_inputs(config: DataConfig, root: Path) -> list[dict[str, str | int]]:
    """The files that `open_files` would read, in order: split, name, size and SHA-256 of each.

    Runs are compared by this list. It names no folder of this machine, so the same files give the same list anywhere.

    Raises:
        ValueError: for an entry that matches no file.
    """
    return [
        {"split": split, "name": path.name, "size_bytes": path.stat().st_size, "sha256": _sha256(path)}
        for split, paths in _match(config, root).items()
        for path in paths
    ]


def _match(config: DataConfig, root: Path) -> dict[Split, list[Path]]:
    train = _match_all(config.train, root, "data.train")
    valid = _match_all(config.valid, root, "data.valid")
    if both := [path for path in valid if path in train]:
        raise ValueError(f"data.valid: must share no file with data.train, got {str(both[0])!r} in both")
    return {"train": train, "valid": valid}


def _match_all(patterns: list[str], root: Path, place: str) -> list[Path]:
    paths: dict[Path, None] = {}  # a set that keeps its order
    for pattern in patterns:
        found = _match_one(pattern, root)
        if not found:
            raise ValueError(f"{place}: must match at least one file, got {pattern!r}")
        for path in found:
            if suffix_of(path.name) is None:
                raise ValueError(f"{place}: files must end in one of {', '.join(SUFFIXES)}, got {str(path)!r}")
            paths[path] = None
    return list(paths)


def _match_one(pattern: str, root: Path) -> list[Path]:
    path = resolve(pattern, root)
    if path.is_file():  # checked first, because a file name may hold the characters of a pattern
        return [path]
    # Path.glob takes no absolute pattern.
    names = glob.glob(str(Path(pattern).expanduser()), root_dir=root, recursive=True)  # noqa: PTH207
    return [path for name in sorted(names) if (path := resolve(name, root)).is_file()]


def _read(paths: list[Path], config: DataConfig) -> Iterator[str]:
    for path in paths:
        yield from read_texts(path, str(path), config.text_column, config.separator)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
