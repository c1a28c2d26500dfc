"""Tests of lm/corpus/dialogues/files.py, outside.py and sources.py."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.corpus.dialogues.sources import list_dialogue_inputs, open_dialogues
from tests.corpus.dialogues.conftest import by_split, dialogues_config, row

Rows = list[dict[str, Any]]


def write_lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


FORMATS: dict[str, Callable[[Path, Rows], None]] = {
    "jsonl": write_lines,
    "jsonl.gz": lambda path, rows: write_bytes(path, gzip.compress("\n".join(map(json.dumps, rows)).encode())),
    "json": lambda path, rows: write_bytes(path, json.dumps(rows, indent=1).encode()),
    "parquet": write_parquet,
}
DIALOGUES = [[f"Question {i}?", f"Answer {i}."] for i in range(100)]
ROWS = [row(*texts) for texts in DIALOGUES]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_its_dialogues_in_order(tmp_path: Path, suffix: str) -> None:
    FORMATS[suffix](tmp_path / f"train.{suffix}", ROWS[:5])
    FORMATS[suffix](tmp_path / f"valid.{suffix}", ROWS[5:7])
    config = dialogues_config(source="files", train=[f"train.{suffix}"], valid=[f"valid.{suffix}"])
    source = open_dialogues(config, 0, tmp_path)
    assert by_split(source) == {"train": DIALOGUES[:5], "valid": DIALOGUES[5:7]}
    assert source.facts == {
        "files": {"train": [f"train.{suffix}"], "valid": [f"valid.{suffix}"]},
        "validation": "given",
        "n_joined_messages": 0,
        "n_unanswered_messages": 0,
        "n_broken_rows": 0,
        "n_valid_dialogues_in_train": 0,
    }
    inputs = list_dialogue_inputs(config, tmp_path)
    assert [(file["split"], file["name"]) for file in inputs] == [
        ("train", f"train.{suffix}"),
        ("valid", f"valid.{suffix}"),
    ]


def test_dialogues_are_held_out_by_what_is_said_in_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [*ROWS, *ROWS])
    write_lines(tmp_path / "reversed.jsonl", ROWS[::-1])
    found = by_split(open_dialogues(dialogues_config(source="files", train=["train.jsonl"]), 0, tmp_path))
    assert 2 < len(found["valid"]) / 2 < 25
    assert found["train"] + found["valid"] != DIALOGUES * 2
    assert not any(texts in found["train"] for texts in found["valid"])
    other = by_split(open_dialogues(dialogues_config(source="files", train=["reversed.jsonl"]), 0, tmp_path))
    assert sorted(other["valid"] * 2) == sorted(found["valid"])
    config = dialogues_config(source="files", train=["train.jsonl"], max_dialogues=30)
    assert by_split(open_dialogues(config, 0, tmp_path))["train"] == found["train"][:30]


def test_of_too_few_dialogues_the_first_is_held_out_and_one_alone_is_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [*ROWS[:3], ROWS[0]])
    config = dialogues_config(source="files", train=["train.jsonl"], valid_fraction=1e-9)
    source = open_dialogues(config, 0, tmp_path)
    assert by_split(source) == {"train": DIALOGUES[1:3], "valid": [DIALOGUES[0]] * 2}
    assert source.facts["validation"] == "the first dialogue"
    write_lines(tmp_path / "train.jsonl", ROWS[:1])
    rule = r"^dialogues\.train: must give at least one dialogue for training, got 0 beside 1 for validation$"
    with pytest.raises(ValueError, match=rule):
        by_split(open_dialogues(config, 0, tmp_path))


def test_a_broken_row_is_named_by_file_and_line_or_left_out_and_counted(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [*ROWS[:4], {"messages": [{"role": "user", "content": "Hi!"}]}, ROWS[4]])
    write_lines(tmp_path / "valid.jsonl", [ROWS[0], ROWS[0], ROWS[9]])
    files = {"source": "files", "train": ["train.jsonl"], "valid": ["valid.jsonl"]}
    place = f"{tmp_path / 'train.jsonl'}:5"
    with pytest.raises(ValueError, match=f"^{place}: must have a message of the assistant, .*broken_rows=skip leaves"):
        by_split(open_dialogues(dialogues_config(**files), 0, tmp_path))
    source = open_dialogues(dialogues_config(**files, broken_rows="skip"), 0, tmp_path)
    assert by_split(source)["train"] == DIALOGUES[:5]
    assert (source.facts["n_broken_rows"], source.facts["n_valid_dialogues_in_train"]) == (1, 2)
    (tmp_path / "train.jsonl").write_text("[\n")
    with pytest.raises(ValueError, match=r"train\.jsonl:1: must be JSON, got '\['"):
        by_split(open_dialogues(dialogues_config(**files, broken_rows="skip"), 0, tmp_path))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("Hi!")
    with pytest.raises(ValueError, match=r"^dialogues\.train: files must end in \.json, .* got '.*train\.txt'$"):
        list_dialogue_inputs(dialogues_config(source="files", train=["train.txt"]), tmp_path)


def test_the_built_in_source_reads_nothing_from_outside(tmp_path: Path) -> None:
    config = dialogues_config(n_dialogues=7, n_valid_dialogues=3)
    assert list_dialogue_inputs(config, tmp_path) == []
    found = by_split(open_dialogues(config, 1, tmp_path))
    assert {split: len(dialogues) for split, dialogues in found.items()} == {"train": 7, "valid": 3}
