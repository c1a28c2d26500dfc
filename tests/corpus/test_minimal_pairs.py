"""Files of minimal pairs, and BLiMP on a hub on this machine."""

import json
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.corpus.minimal_pairs import MinimalPair, list_pairs, read_pairs
from lm.system.files import sha256
from tests.corpus.hub_server import Hub

ROW = {"sentence_good": "She runs.", "sentence_bad": "She run.", "group": "agreement"}


def test_a_file_is_listed_by_its_hash_and_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    theirs = {**ROW, "UID": "verbs", "field": "syntax"}
    del theirs["group"]
    path.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(theirs)}\n")
    inputs = list_pairs("pairs.jsonl", tmp_path)
    assert inputs == [{"name": "pairs.jsonl", "sha256": sha256(path)}]
    expected = [MinimalPair("She runs.", "She run.", group) for group in ("agreement", "verbs")]
    assert read_pairs("pairs.jsonl", tmp_path, inputs) == expected
    path.write_text(json.dumps(ROW))
    with pytest.raises(ValueError, match=r"pairs\.jsonl: must not change while the pipeline runs, but it has"):
        read_pairs("pairs.jsonl", tmp_path, inputs)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "{path}: must hold a pair, got none"),
        ("{", "{path}:1: must be JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "{path}:1: must have a text under 'sentence_good', got []"),
        ('{"sentence_good": "a"}', "{path}:1: must have a text under 'sentence_bad', got {{'sentence_good': 'a'}}"),
        (
            '{"sentence_good": "a", "sentence_bad": "b"}',
            "{path}:1: must have a text under 'group', got {{'sentence_good': 'a', 'sentence_bad': 'b'}}",
        ),
        (json.dumps(ROW | {"sentence_bad": ""}), "{path}:1: must have a text under 'sentence_bad', got {row}"),
    ],
)
def test_what_is_no_pair_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        read_pairs(str(path), tmp_path, list_pairs(str(path), tmp_path))
    assert str(error.value) == line.format(path=path, row=str(ROW | {"sentence_bad": ""})[:60])


def test_a_file_that_is_not_there_or_that_the_pipeline_writes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a file of JSON lines, or 'blimp', got 'none'"):
        list_pairs("none", tmp_path)
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(ValueError, match=r"must be no file that the pipeline writes, got 'out\.json'"):
        list_pairs("out.json", tmp_path, [tmp_path / "out.json"])
    assert list_pairs(None, tmp_path) == []


def test_blimp_is_read_from_the_hub_at_the_commit_that_was_listed(tmp_path: Path, hub: Hub) -> None:
    parquet = BytesIO()
    rows = [{key: value for key, value in ROW.items() if key != "group"}]
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    hub.repository("nyu-mll/blimp").commit(
        {"drop_argument/train-00000-of-00001.parquet": parquet.getvalue(), "README.md": b"x"}
    )
    inputs = list_pairs("blimp", tmp_path)
    assert inputs[0].keys() == {"dataset", "commit"}
    assert read_pairs("blimp", tmp_path, inputs) == [MinimalPair("She runs.", "She run.", "drop_argument")]
