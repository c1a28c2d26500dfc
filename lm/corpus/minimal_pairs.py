"""Minimal pairs: two sentences that differ in little, of which a model should find the first likelier.

A file has one JSON object a line, with `sentence_good`, `sentence_bad` and what the pair tests, as `group` or `UID`.
The name `blimp` stands for the benchmark of Warstadt et al. 2020 (https://arxiv.org/abs/1912.00582) on the hub.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lm.config.outside import resolve
from lm.corpus.made_files import MadeFiles
from lm.system.files import sha256

BLIMP = "blimp"
_REPOSITORY = "nyu-mll/blimp"


class MinimalPair(NamedTuple):
    """Two sentences; `group` says what the difference between them tests."""

    good: str
    bad: str
    group: str


def list_pairs(source: str | None, root: Path, written: Sequence[Path] = ()) -> list[dict[str, str]]:
    """What is read for `evaluate.minimal_pairs`: a file with its hash, or the dataset with its commit.

    Raises:
        ValueError: when there is no such file, or the pipeline writes it.
        ConnectionError: when the hub does not answer.
    """
    if source is None:
        return []
    if source == BLIMP:
        from lm.corpus.repository import Repository

        return [{"dataset": _REPOSITORY, "commit": Repository.commit_of(_REPOSITORY, None)}]
    path = resolve(source, root)
    if not path.is_file():
        raise ValueError(f"evaluate.minimal_pairs: must be a file of JSON lines, or '{BLIMP}', got {source!r}")
    if MadeFiles(root, written).is_written(path):
        raise ValueError(f"evaluate.minimal_pairs: must be no file that the pipeline writes, got {source!r}")
    return [{"name": path.name, "sha256": sha256(path)}]


def read_pairs(source: str, root: Path, inputs: Sequence[Mapping[str, str]]) -> list[MinimalPair]:
    """All pairs. `inputs` is what `list_pairs` gave.

    Raises:
        ValueError: with the line, for what is no pair; when a file has changed since it was listed.
        ConnectionError: when the hub does not answer.
    """
    if source == BLIMP:
        return list(_read_blimp(inputs[0]["commit"]))
    path = resolve(source, root)
    if sha256(path) != inputs[0]["sha256"]:
        raise ValueError(f"{path}: must not change while the pipeline runs, but it has; run again")
    pairs = [
        _pair(_parse(line, f"{path}:{number}"), f"{path}:{number}")
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1)
        if line.strip()
    ]
    if not pairs:
        raise ValueError(f"{path}: must hold a pair, got none")
    return pairs


def _parse(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: must be JSON: {error}") from None


def _pair(row: Any, place: str) -> MinimalPair:
    values = row if isinstance(row, dict) else {}
    group = values.get("group", values.get("UID"))
    for name, value in {**{key: values.get(key) for key in ("sentence_good", "sentence_bad")}, "group": group}.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"{place}: must have a text under {name!r}, got {str(row)[:60]}")
    return MinimalPair(values["sentence_good"], values["sentence_bad"], str(group))


def _read_blimp(commit: str) -> Iterator[MinimalPair]:
    """Each paradigm is a folder of the dataset with one file of pairs."""
    import pyarrow.parquet as pq

    from lm.corpus.repository import Repository

    repository = Repository.at(_REPOSITORY, commit)
    for file in repository.files:
        if file.endswith(".parquet"):
            for row in pq.read_table(repository.download(file)).to_pylist():
                yield _pair(row | {"group": file.split("/")[0]}, f"{_REPOSITORY}/{file}")
