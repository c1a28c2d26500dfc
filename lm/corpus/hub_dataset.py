"""A dataset of the hub as its own client sees it: configurations, splits, files, and rows of files of any format.

The `datasets` library finds out which files make up a configuration and its splits, from the card of the repository or
from the names of the files. It also reads the formats that `readers` does not know: CSV, Arrow and the rarer ones. It
reads a file as a stream, without a copy on disk.

Three things are not left to it. Files are downloaded by `repository`, because the library cannot resume a download.
Text is cut into documents by `readers`, because the library makes a row of every line. JSON is read by `readers` too:
the library guesses a type for each ten megabytes, so that a text `2020-01-01` may become `2020-01-01 00:00:00`.
"""

import copy
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError, HTTPError  # type: ignore[attr-defined]

from lm.config.outside import OutsideSection, SplitRows
from lm.corpus.document import Split
from lm.corpus.readers import (
    ROWS_PER_BATCH,
    NullRows,
    Row,
    is_string,
    missing,
    read_rows,
    read_texts,
    suffix_of,
    texts_of_rows,
)
from lm.corpus.repository import Repository, persist
from lm.system.messages import one_line

MOST_NAMES = 20  # that an error lists
VALIDATION = ("validation", "valid", "val", "dev")  # names that a validation split may have, the usual one first


@dataclass(frozen=True)
class HubDataset:
    """One configuration of a dataset at one commit: its name, and the files of each split, in order."""

    repository: Repository
    configuration: str
    splits: dict[str, list[str]]
    _builder: Any  # of the `datasets` library

    @classmethod
    def open(cls, repository: Repository, folder: str, configuration: str | None) -> "HubDataset":
        """The dataset in a folder of a repository ("" for all of it); None means its default configuration.

        Raises:
            ValueError: if there are no files that can be read, or no such configuration; the error names what there is.
            ConnectionError: if the hub does not answer.
        """
        builder = persist(lambda: _load_builder(repository, folder, configuration), repository.name, repository.wanted)
        if isinstance(builder, Exception):
            raise _explained(builder, repository, folder, configuration)
        start = f"hf://datasets/{repository.name}@{repository.commit}/"
        files = {
            str(split): [str(file) for file in files] for split, files in (builder.config.data_files or {}).items()
        }
        for file in (file for files in files.values() for file in files):
            if not file.startswith(start):
                rule = f"files must lie in the repository {repository.name}"
                raise ValueError(f"{repository.section}.dataset: {rule}, got {file}")
        splits = {split: [file.removeprefix(start) for file in names] for split, names in files.items()}
        return cls(repository, builder.config.name, splits, builder)

    def chosen(self, config: OutsideSection) -> dict[Split, SplitRows]:
        """The rows of each split that `config` means; none to validate on if the dataset has no validation split.

        Raises:
            ValueError: for a split that the dataset does not have.
        """
        own = next((SplitRows(name) for name in VALIDATION if name in self.splits), None)
        valid = config.valid_rows or (None if own and own.overlaps(config.train_rows) else own)
        chosen: dict[Split, SplitRows] = {"train": config.train_rows}
        if valid is not None:
            chosen["valid"] = valid
        for split, rows in chosen.items():
            if rows.split not in self.splits:
                of = f"the splits of configuration {self.configuration!r} of {self.repository.name}"
                rule = f"must be one of {listed(list(self.splits))}, {of}"
                raise config.wrong(f"{split}_split", f"{rule}, got {rows.split!r}")
        return chosen

    def texts(self, file: str, text_column: str, separator: str, nulls: NullRows) -> Iterator[str]:
        """The texts of one file, which is downloaded first.

        Raises:
            ValueError: `place: rule, got value` for content that breaks its format, and a column that is not there.
            ConnectionError: if the hub does not answer.
        """
        path = self.repository.download(file)
        place = f"{self.repository.name}/{file}"
        if suffix_of(file) is not None and not _options(self._builder.config):
            return read_texts(path, place, text_column, separator, nulls=nulls)
        return texts_of_rows(self._column(path, place, text_column), text_column, nulls)

    def rows(self, file: str) -> Iterator[Row]:
        """The rows of one file, which is downloaded first, as mappings or, from JSON, as they stand there.

        Raises:
            ValueError: `place: rule, got value` for content that breaks its format.
            ConnectionError: if the hub does not answer.
        """
        path = self.repository.download(file)
        place = f"{self.repository.name}/{file}"
        suffix = suffix_of(file)
        if suffix is not None and not suffix.startswith(".txt") and not _options(self._builder.config):
            yield from read_rows(path, place)
            return
        number = 0
        for table in _guarded(self._tables(path), place, self._builder.name):
            for row in table.to_pylist():
                yield f"{place}: row {number}", row
                number += 1

    def _column(self, path: Path, place: str, text_column: str) -> Iterator[Row]:
        number = 0
        for table in _guarded(self._tables(path, place, text_column), place, self._builder.name):
            column = table.column(0)
            if not is_string(column.type) and column.null_count < len(column):
                raise ValueError(f"{place}: column {text_column!r} must hold strings, got {column.type}")
            for text in column.to_pylist():
                yield f"{place}: row {number}", text
                number += 1

    def _tables(self, path: Path, place: str = "", text_column: str | None = None) -> Iterator[Any]:
        """The column of the text, or all columns, in Arrow tables, one after the other."""
        stream = self._stream(path)
        columns = stream.column_names or list(next(iter(stream), {text_column: None} if text_column else {}))
        if text_column is not None and text_column not in columns:
            raise ValueError(f"{place}: {missing(text_column, columns)}")
        wanted = columns if text_column is None else [text_column]
        if self._builder.name == "csv":
            stream = self._stream(path, wanted)
        if wanted:
            yield from stream.select_columns(wanted).with_format("arrow").iter(ROWS_PER_BATCH)

    def _stream(self, path: Path, string_columns: list[str] | None = None) -> Any:
        """The rows of a file as an IterableDataset. Columns that are named hold strings, whatever they look like."""
        datasets = library()
        files = datasets.data_files.DataFilesDict({"train": datasets.data_files.DataFilesList([str(path)], [()])})
        builder = copy.copy(self._builder)
        builder.config = dataclasses.replace(builder.config, data_files=files)
        builder.info = self._builder.info.copy()
        if builder.name == "csv":
            config = builder.config
            config.chunksize = ROWS_PER_BATCH
            if config.keep_default_na and config.na_values is None:  # a text "NA" or "null" is a text
                config.keep_default_na, config.na_values = False, [""]
            value = datasets.Value("string")
            features = datasets.Features(dict.fromkeys(string_columns, value)) if string_columns else None
            config.features, builder.info = features, datasets.DatasetInfo(features=features)
        return builder.as_streaming_dataset("train")


def library() -> Any:
    """The `datasets` library. It is imported when it is needed, because it takes a second."""
    users = os.environ.get("USE_TORCH")
    os.environ["USE_TORCH"] = "0"  # it would import PyTorch, which takes five seconds more
    try:
        import datasets
    finally:
        if users is None:
            del os.environ["USE_TORCH"]
        else:
            os.environ["USE_TORCH"] = users
    datasets.utils.logging.set_verbosity(logging.CRITICAL)  # it logs what it raises
    datasets.disable_progress_bars()
    return datasets


def _load_builder(repository: Repository, folder: str, configuration: str | None) -> Any:
    """The library's builder, or the error that says why there is none. An error that may pass is raised."""
    datasets = library()
    try:
        builder = datasets.load_dataset_builder(
            repository.name, configuration, data_dir=folder or None, revision=repository.commit
        )
    except (HTTPError, EntryNotFoundError):
        raise
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise
        return error
    except Exception as error:
        return error
    if builder.name == "cache":  # an older copy on this machine, which the library takes where the hub fails
        raise ConnectionError("the hub failed while files were looked up")
    return builder


def _explained(error: Exception, repository: Repository, folder: str, configuration: str | None) -> ValueError:
    """The error for the user, in one line, when the library cannot open a dataset."""
    repository.check_access()  # first, because the library says of a refusal only that it found nothing
    name, commit, section = repository.name, repository.commit, repository.section
    if "scripts are no longer supported" in str(error):
        rule = (
            f"must hold files, not a script that makes them; {section}.revision=refs/convert/parquet may hold its "
            "Parquet"
        )
        return ValueError(f"{section}.dataset: {rule}, got {name!r} at {commit[:7]}")
    if isinstance(error, ValueError):
        try:
            names = library().get_dataset_config_names(name, revision=commit)
        except Exception:  # then the configuration is not what is wrong
            names = []
        if (names and configuration not in (None, *names)) or (configuration is None and len(names) > 1):
            rule = f"must be one of {listed(names)}, the configurations of {name} at {commit[:7]}"
            return ValueError(f"{section}.configuration: {rule}, got {configuration!r}")
    got = "/".join(filter(None, (name, folder)))
    if isinstance(error, FileNotFoundError):
        return ValueError(
            f"{section}.dataset: must hold files that can be read, got {got!r}, "
            f"where {name} at {commit[:7]} holds {listed(repository.files)}"
        )
    return ValueError(f"{section}.dataset: must be a dataset that `datasets` can open, got {got!r}: {one_line(error)}")


def parse_dataset(config: OutsideSection, known: Mapping[str, str]) -> tuple[str, str]:
    """Repository and folder of `config.dataset`: a short name in `known`, a repository `org/name`, or a folder of one.

    Raises:
        ValueError: for any other name.
    """
    if config.dataset in known:
        return known[config.dataset], ""
    parts = config.dataset.strip("/").split("/")
    if len(parts) < 2 or not all(parts):
        rule = f"must be one of {', '.join(known)}, or a repository as 'org/name'"
        raise config.wrong("dataset", f"{rule}, got {config.dataset!r}")
    return "/".join(parts[:2]), "/".join(parts[2:])


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Names with commas between, for an error; the first MOST_NAMES of them."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) or "nothing") + more


def _options(config: Any) -> dict[str, Any]:
    """What the card of a repository says about reading its files, beside their names."""
    general = {field.name for field in dataclasses.fields(config.__class__.__base__)}
    return {
        field.name: value
        for field in dataclasses.fields(config)
        if field.name not in general and (value := getattr(config, field.name)) != field.default
    }


def _guarded(tables: Iterator[Any], place: str, kind: str) -> Iterator[Any]:
    """The same tables. An error of a library about the content becomes one line."""
    while True:
        try:
            table = next(tables, None)
        except MemoryError:
            raise
        except Exception as error:
            if str(error).startswith(place) or (isinstance(error, OSError) and error.errno is not None):
                raise
            raise ValueError(f"{place}: must be a whole {kind} file, got: {one_line(error)}") from None
        if table is None:
            return
        yield table
