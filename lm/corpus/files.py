"""Local files as a source. This module imports little, because the pipeline lists the files at every run."""

import glob
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lm.config.data import DataConfig
from lm.config.outside import OutsideSection, expanded, resolve
from lm.corpus.document import Corpus, Split
from lm.corpus.made_files import MadeFiles
from lm.corpus.readers import READABLE, WITH_ROWS, NullRows, read_texts, suffix_of
from lm.corpus.splits import counted, split_texts
from lm.system.files import sha256


class InputFile(NamedTuple):
    """A file to read."""

    path: Path
    size_bytes: int
    sha256: str


def open_files(config: DataConfig, root: Path, written: Collection[Path] = ()) -> Corpus:
    """The documents of the files that `config.train` and `config.valid` name; relative paths start at `root`.

    Every entry is a path or a pattern (`*`, `?`, `[...]`, and `**` for any folders). Files come in the order of the
    entries. The files of one pattern are sorted. A file is read once, also if it has several names or copies. Patterns
    leave out what the pipeline writes (`written`, files or folders) and what tools make. Without `config.valid`, a part
    of the training text is held out (see `split_texts`).

    Raises:
        ValueError: at the call, for an entry that matches no file, for a path that a pattern would leave out, and for a
            file in both splits; during the pass, for a file that breaks its format.
    """
    files = match_files(config, root, written)
    nulls = [NullRows(skip=config.null_rows == "skip") for _ in range(2)]
    train = partial(_read, files["train"], config, nulls[0])
    valid = partial(_read, files["valid"], config, nulls[1]) if config.valid else None
    names = {split: [file.path.name for file in found] for split, found in files.items() if found}
    facts: dict[str, object] = {"files": names}
    return Corpus(counted(split_texts(train, valid, config, facts), nulls, facts), facts)


def list_inputs(config: OutsideSection, root: Path, written: Collection[Path] = ()) -> list[dict[str, str | int]]:
    """The files that `config` names, in order: split, name, size and SHA-256 of each.

    Runs are compared by this list. It names no folder of this machine, so the same files give the same list anywhere.

    Raises:
        ValueError: as `open_files` at the call.
    """
    return [
        {"split": split, "name": file.path.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
        for split, files in match_files(config, root, written).items()
        for file in files
    ]


def match_files(config: OutsideSection, root: Path, written: Collection[Path] = ()) -> dict[Split, list[InputFile]]:
    """The files of each split that `config` names, in order. See `open_files`; only a corpus may have .txt files.

    Raises:
        ValueError: as `open_files` at the call.
    """
    made = MadeFiles(root, written)
    train = _match_all(config, "train", root, made)
    valid = _match_all(config, "valid", root, made)
    for content, file in valid.items():
        if content in train and file.size_bytes:
            got = " and ".join(sorted({repr(str(train[content].path)), repr(str(file.path))}))
            rule = f"must share no file with {config.name()}.train, nor a copy of one"
            raise config.wrong("valid", f"{rule}, got {got}")
    return {"train": list(train.values()), "valid": list(valid.values())}


def _match_all(config: OutsideSection, split: Split, root: Path, made: MadeFiles) -> dict[str, InputFile]:
    """The files by content and format. Where links stand for copies depends on DVC's cache, so it makes no difference.

    Several names of one file are told from its real path, so that it is hashed once.
    """
    paths: dict[tuple[Path, str], Path] = {}
    has_rows = not isinstance(config, DataConfig)
    for pattern in config.train if split == "train" else config.valid:
        found = _match_one(pattern, root)
        if not found:
            raise config.wrong(split, f"must match at least one file, got {pattern!r}")
        allowed = [path for path in found if path not in made]
        if not allowed:
            rule = "must match at least one file that neither the pipeline writes nor a tool makes"
            raise config.wrong(split, f"{rule}, got {pattern!r}")
        for path in allowed:
            suffix = suffix_of(path.name)
            if suffix is None or (has_rows and suffix.startswith(".txt")):
                rule = f"files must end in {WITH_ROWS if has_rows else READABLE}"
                raise config.wrong(split, f"{rule}, got {str(path)!r}")
            paths.setdefault((path.resolve(), suffix), path)
    files: dict[str, InputFile] = {}
    for (_, suffix), path in paths.items():
        file = InputFile(path, path.stat().st_size, sha256(path))
        files.setdefault(file.sha256 + suffix, file)
    return files


def _match_one(pattern: str, root: Path) -> list[Path]:
    path = resolve(pattern, root)
    if path.is_file():  # checked first, because a file name may hold the characters of a pattern
        return [path]
    # Path.glob takes no absolute pattern.
    names = glob.glob(str(expanded(pattern)), root_dir=root, recursive=True)  # noqa: PTH207
    return [path for name in sorted(names) if (path := root / name).is_file()]


def _read(files: list[InputFile], config: DataConfig, nulls: NullRows) -> Iterator[str]:
    nulls.n_skipped = 0
    for file in files:
        yield from read_texts(file.path, str(file.path), config.text_column, config.separator, nulls)
