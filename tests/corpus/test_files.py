"""Tests of lm/corpus/files.py and of the readers and splits behind it."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import subprocess
import sys
import tempfile
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from unittest.mock import ANY

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lm.corpus import compressed, splits
from lm.corpus.document import SEPARATOR, Corpus, Split
from lm.corpus.files import list_inputs, open_files
from lm.corpus.json_array import array_items
from lm.corpus.readers import read_texts
from lm.corpus.splits import Texts, is_held_out, split_texts, text_key
from lm.corpus.text_file import DocumentWriter
from tests.corpus.conftest import data_config, jsonl, parquet, texts_of

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write(path: Path, data: bytes) -> None:
    path.write_bytes(PACKED.get(path.suffix, bytes)(data))


def write_txt(path: Path, texts: list[str]) -> None:
    write(path, "".join(f"{text}\n{SEPARATOR}\n" for text in texts).encode())


def write_jsonl(path: Path, texts: list[str]) -> None:
    write(path, "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode())


def write_array(path: Path, texts: list[str]) -> None:
    rows = [{"id": i, "text": text} for i, text in enumerate(texts)]
    write(path, json.dumps(rows, indent=2, ensure_ascii=False).encode(errors="replace"))


def write_parquet(path: Path, texts: list[str]) -> None:
    pq.write_table(pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())}), path, row_group_size=2)


Writer = Callable[[Path, list[str]], None]
WRITERS: dict[str, Writer] = {
    ".txt": write_txt,
    ".txt.gz": write_txt,
    ".jsonl": write_jsonl,
    ".jsonl.gz": write_jsonl,
    ".jsonl.zst": write_jsonl,
    ".ndjson.bz2": write_jsonl,
    ".json": write_array,
    ".json.xz": write_jsonl,
    ".json.gz": write_array,
    ".parquet": write_parquet,
}

# A document as a text file can hold it: no outer line breaks, not blank, no separator line.
documents = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.strip("\r\n") == text and text.strip() and SEPARATOR not in text and text[0] != "\ufeff"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=15, deadline=None)
@given(train=st.lists(documents, min_size=1, max_size=6), valid=st.lists(documents, min_size=1, max_size=3))
def test_every_format_gives_back_the_documents(suffix: str, train: list[str], valid: list[str]) -> None:
    assume(train != valid)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WRITERS[suffix](folder / f"train{suffix}", train)
        WRITERS[suffix](folder / f"valid{suffix}", valid)
        config = data_config(train=[f"train{suffix}"], valid=[f"valid{suffix}"])
        assert texts_of(open_files(config, folder)) == {"train": train, "valid": valid}


def test_many_batches_of_a_parquet_file_keep_the_order(folder: Path) -> None:
    texts = [f"document {i}" for i in range(1000)]
    write_parquet(folder / "a.parquet", texts)
    write_parquet(folder / "b.parquet", ["held"])
    assert texts_of(open_files(data_config(train=["a.parquet"], valid=["b.parquet"]), folder))["train"] == texts


def test_a_large_row_group_is_read_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    path = folder / "a.parquet"
    table = pa.table({"text": [rng.randbytes(5000).hex() for _ in range(1000)]})
    pq.write_table(table, path, row_group_size=1000, write_batch_size=10, use_dictionary=False)  # in pages of 1 MB
    opened: list[IO[bytes]] = []

    def open_counted(self: Path, mode: str) -> IO[bytes]:
        opened.append(CountedFile(self))
        return opened[-1]

    monkeypatch.setattr(Path, "open", open_counted)
    assert sum(len(text) for text in read_texts(path, "a", "text", SEPARATOR)) == 10_000_000
    assert isinstance(opened[0], CountedFile)
    assert opened[0].largest < 0.2 * path.stat().st_size


class CountedFile(io.FileIO):
    """A file that knows the most that was read from it at once."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.largest = max(self.largest, len(data))
        return data


@pytest.mark.parametrize("column_type", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_any_type_of_string_column_is_read(folder: Path, column_type: Any) -> None:
    pq.write_table(pa.table({"body": pa.array(["one", "two"]).cast(column_type)}), folder / "a.parquet")
    write_jsonl(folder / "b.jsonl", ["held"])
    (folder / "b.jsonl").write_text('{"body": "held"}\n')
    config = data_config(train=["a.parquet"], valid=["b.jsonl"], text_column="body")
    assert texts_of(open_files(config, folder)) == {"train": ["one", "two"], "valid": ["held"]}


def written(folder: Path, text: str, separator: str = SEPARATOR) -> list[str]:
    """The training documents of a text file."""
    (folder / "a.txt").write_bytes(text.encode())
    write_txt(folder / "v.txt", ["held"])
    return texts_of(open_files(data_config(train=["a.txt"], valid=["v.txt"], separator=separator), folder))["train"]


@pytest.mark.parametrize(
    ("separator", "text", "documents"),
    [
        ("---", "\ufeffone\r\nline\r\n---\n\n--- not here\n ---\nthree", ["one\r\nline", "--- not here", "three"]),
        ("---", "\ufeff---\none", ["one"]),
        (" --- ", "one\n---\ntwo", ["one", "two"]),  # copied with its blanks, which count no more than the line's own
        ("\n---\n", "one\n---\ntwo", ["one", "two"]),
        ("   *   *   *", "one\n   *   *   *\ntwo", ["one", "two"]),
        ("\n\n", "one\nline\n\ntwo\r\n\r\n \t\n\nthree\n", ["one\nline", "two", "three"]),
        (r"\n\n", "one\nline\n\ntwo", ["one\nline", "two"]),  # as DVC's -S leaves it
        (r"\newpage", "one\n\\newpage\ntwo", ["one", "two"]),  # a mark of TeX, and no line break
        ("\n", "emma\nolivia\r\n\nava", ["emma", "olivia", "ava"]),
        ("---", f"one\n{SEPARATOR}\ntwo\n---\nthree", ["one", "two", "three"]),  # <|endoftext|> ends one in any case
    ],
)
def test_text_files_split_at_the_separator_of_the_config(
    folder: Path, separator: str, text: str, documents: list[str]
) -> None:
    assert written(folder, text, separator) == documents


@pytest.mark.parametrize("separator", ["", " ", "\t\n", "\n\n\n", "one\ntwo"])
def test_a_separator_that_no_line_can_be_is_refused(separator: str) -> None:
    with pytest.raises(ValueError, match=r"^data\.separator: must be one line with a visible character, .*, got "):
        data_config(separator=separator)


def test_the_end_of_a_text_counts_within_a_line_too(folder: Path) -> None:
    assert written(folder, f"one\ntwo{SEPARATOR}three\n{SEPARATOR}\n{SEPARATOR} four{SEPARATOR}") == [
        "one\ntwo",
        "three",
        " four",
    ]


def test_streams_one_after_another_are_one_text_and_a_damaged_one_is_an_error(folder: Path) -> None:
    write_txt(folder / "v.txt", ["held"])
    for end, pack in PACKED.items():
        first, second, path = pack(b"one\n"), pack(b"two\n"), folder / f"a.txt{end}"
        path.write_bytes(first + second)
        assert texts_of(open_files(data_config(train=[path.name], valid=["v.txt"]), folder))["train"] == ["one\ntwo"]
        for damaged in (first + bytes([second[0] ^ 1]) + second[1:], first + second[:-1], first + b"more"):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r": must be a complete \w+ file, got: "):
                list(read_texts(path, path.name, "text", "---"))


def test_a_name_may_begin_with_a_tilde(folder: Path) -> None:
    write_txt(folder / "~$a.txt", ["one"])
    write_txt(folder / "v.csv.txt", ["held"])
    for pattern in ("*a.txt", "~$a.txt"):
        assert texts_of(open_files(data_config(train=[pattern], valid=["v.csv.txt"]), folder))["train"] == ["one"]
    with pytest.raises(ValueError, match=r"^data\.train: .*'~nobody_of_this_name/\*\.txt'$"):
        open_files(data_config(train=["~nobody_of_this_name/*.txt"], valid=["v.csv.txt"]), folder)


def test_a_long_line_is_read_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "PIECE_BYTES", 8)
    text = "\ufeffein Fuchs --- zwölf Hühner\n---\nzwölf ---\n ---\nÄpfel"
    assert written(folder, text, "---") == ["ein Fuchs --- zwölf Hühner", "zwölf ---", "Äpfel"]
    (folder / "a.txt").write_bytes(b"ein Fuchs\n---\nna\xefve")
    with pytest.raises(ValueError, match=r"a\.txt: must be UTF-8, got byte 0xef at offset 16$"):
        list(read_texts(folder / "a.txt", "a.txt", "text", "---"))


def test_a_row_that_holds_the_end_of_a_text_is_several_documents(folder: Path) -> None:
    write_jsonl(folder / "a.jsonl", [f"one\n{SEPARATOR}\ntwo", "  \n", f"in{SEPARATOR}line", "\nthree\n"])
    write_txt(folder / "v.txt", ["held"])
    texts = texts_of(open_files(data_config(train=["a.jsonl"], valid=["v.txt"]), folder))
    assert texts["train"] == ["one", "two", "in", "line", "three"]


def test_patterns_are_sorted_and_every_file_is_read_once(folder: Path) -> None:
    for name in ("b/2.txt", "b/deep/1.txt", "a.txt", "c [x].txt", "valid.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_txt(folder / name, [name])
    absolute = str(folder / "b" / "2.txt")
    config = data_config(train=["c [x].txt", "b/**/*.txt", absolute, "a*"], valid=["valid.txt"])
    corpus = open_files(config, folder)
    assert corpus.facts == {"files": {"train": ["c [x].txt", "2.txt", "1.txt", "a.txt"], "valid": ["valid.txt"]}}
    assert texts_of(corpus)["train"] == ["c [x].txt", "b/2.txt", "b/deep/1.txt", "a.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["none-*.txt"]}, r"^data\.train: must match at least one file, got 'none-\*\.txt'$"),
        ({"valid": ["none.txt"]}, r"^data\.valid: must match at least one file, got 'none\.txt'$"),
        ({"train": ["folder"]}, r"^data\.train: must match at least one file, got 'folder'$"),
        ({"train": ["a.csv"]}, r"^data\.train: files must end in \.txt, .*\.parquet, got '.*a\.csv'$"),
        (
            {"valid": ["*.txt"]},
            r"^data\.valid: must share no file with data\.train, nor a copy of one, got '.*a\.txt'$",
        ),
    ],
)
def test_files_that_cannot_be_taken(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "folder").mkdir()
    for name in ("a.txt", "a.csv"):
        (folder / name).write_text("text")
    config = data_config(**{"train": ["a.txt"]} | changes)
    for function in (open_files, list_inputs):
        with pytest.raises(ValueError, match=message):
            function(config, folder)


@pytest.mark.parametrize("name", ["link.txt", "hard.txt", "copy.txt", "folder/../a.txt", "linked/a.txt"])
def test_no_other_name_of_a_training_file_is_validation_text(folder: Path, name: str) -> None:
    write_txt(folder / "a.txt", ["one fox", "two hens"])
    (folder / "folder").mkdir()
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "hard.txt").hardlink_to(folder / "a.txt")
    (folder / "copy.txt").write_bytes((folder / "a.txt").read_bytes())
    (folder / "linked").symlink_to(folder)
    for function in (open_files, list_inputs):
        with pytest.raises(
            ValueError, match=r"^data\.valid: must share no file with data\.train, nor a copy of one, got "
        ):
            function(data_config(train=["a.txt"], valid=[name]), folder)
    assert [row["name"] for row in list_inputs(data_config(train=["a.txt", name]), folder)] == ["a.txt"]


def test_one_file_under_two_suffixes_is_read_in_both_ways(folder: Path) -> None:
    write_jsonl(folder / "a.jsonl", ["one"])
    (folder / "a.txt").symlink_to("a.jsonl")
    write_txt(folder / "v.txt", ["held"])
    texts = texts_of(open_files(data_config(train=["a.*"], valid=["v.txt"]), folder))
    assert texts["train"] == ["one", '{"id": 0, "text": "one"}']


def test_empty_files_are_not_copies(folder: Path) -> None:
    write_txt(folder / "a.txt", ["one"])
    write_txt(folder / "v.txt", ["two"])
    for name in ("empty.txt", "void.txt"):
        (folder / name).touch()
    config = data_config(train=["a.txt", "empty.txt"], valid=["void.txt", "v.txt"])
    assert texts_of(open_files(config, folder)) == {"train": ["one"], "valid": ["two"]}


def test_what_the_pipeline_writes_and_what_tools_make_is_no_input(folder: Path) -> None:
    made = ["data/raw/train.txt", "plots/deep/er.txt", "env/a.txt", ".dvc/tmp/exps/x/a.txt", "x.egg-info/SOURCES.txt"]
    for name in [*made, "data/raw/mine.txt", "data/books/a.txt", ".dvc/cache/files/md5/ab/cd", ".own/b.txt"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_txt(folder / name, [name])
    (folder / "env" / "pyvenv.cfg").touch()
    (folder / "data" / "tracked.txt").symlink_to(folder / ".dvc/cache/files/md5/ab/cd")
    (folder / "data" / "link.txt").symlink_to(folder / "data/raw/train.txt")
    (folder / "data" / "linked").symlink_to(folder / "plots")
    written = [folder / "data/raw/train.txt", folder / "plots"]

    def names(*patterns: str) -> list[object]:
        return [row["name"] for row in list_inputs(data_config(train=list(patterns)), folder, written)]

    assert names("**/*.txt", ".*/**/*.txt") == ["a.txt", "mine.txt", "tracked.txt", "b.txt"]
    for pattern in [*made, "data/link.txt", "data/linked/deep/er.txt", "data/books/../raw/t*.txt", "env/*"]:
        with pytest.raises(ValueError, match=r"^data\.train: must match at least one file that neither the pipeline"):
            names("data/books/a.txt", pattern)
    assert names(str(folder / "data" / "**" / "a.txt")) == ["a.txt"]


def broken_files() -> dict[str, tuple[str, bytes, str]]:
    """Name of a mistake -> (file name, content, what the error says behind the path)."""
    whole_gzip = gzip.compress(random.Random(0).randbytes(1000).hex().encode())
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a" * 1000, "b" * 1000], "n": [1, None]}), buffer)
    parquet = buffer.getvalue().to_pybytes()
    damaged = parquet[:10] + b"\xff" * 40 + parquet[50:]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a", None]}), buffer)
    with_null = buffer.getvalue().to_pybytes()
    return {
        "utf-8": ("a.txt", b"fine\nna\xefve\n", r": must be UTF-8, got byte 0xef at offset 7"),
        "utf-8 in json": ("a.jsonl", b'{"text": "\xff"}\n', r": must be UTF-8, got byte 0xff at offset 10"),
        "gzip": ("a.txt.gz", whole_gzip[:-20], r": must be a complete gzip file, got: .*end"),
        "no gzip": ("a.jsonl.gz", b'{"text": "a"}\n', r": must be a complete gzip file, got: Not a gzipped file"),
        "gzip data": ("a.txt.gz", whole_gzip[:12] + b"\xff\xff" + whole_gzip[14:], ": must be a complete gzip file"),
        "json": ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', r""":3: must be JSON, got '\{"text":': """),
        "deep json": ("a.jsonl", b"[" * 100_000, r":1: must be JSON, got .*…: "),
        "no object": ("a.jsonl", b'{"text": "a"}\n["text"]\n', r":2: must be a JSON object, got \['text'\]"),
        "json column": ("a.jsonl", b'{"id": 1, "body": "a"}\n', r":1: must have the column 'text'.* columns id, body"),
        "json value": ("a.jsonl", b'{"text": 3}\n', r":1: 'text' must be a string, got 3"),
        "json null": ("a.jsonl", b'{"text": null}\n', r":1: 'text' must be a string, got None"),
        "zstd": ("a.jsonl.zst", PACKED[".zst"](jsonl(["a"]))[:-3], r": must be a complete zstd file, got: .*end"),
        "no zstd": ("a.txt.zst", b"text", r": must be a complete zstd file, got: "),
        "bzip2": ("a.json.bz2", PACKED[".bz2"](b'[{"text": "a"}]')[:-3], r": must be a complete bzip2 file, got: "),
        "xz": ("a.txt.xz", b"text", r": must be a complete xz file, got: "),
        "array": (
            "a.json",
            b'[{"text": "a"}, {"text": ]',
            r": row 1: must be an item of a JSON array, got: Expecting v",
        ),
        "open array": ("a.json", b'[{"text": "a"}', r": row 1: must be an item of a JSON array, got: Expecting ',' or"),
        "cut array": ("a.json", b'[{"text": "a', r": row 0: must be an item of a JSON array, got: Unterminated string"),
        "two arrays": ("a.json", b'[{"text": "a"}] []', r": row 1: must be an item of a JSON array, got: Extra data"),
        "array of arrays": ("a.json", b'[["a"]]', r": row 0: must be a JSON object, got \['a'\]"),
        "array column": ("a.json", b'[{"id": 1}]', r": row 0: must have the column 'text' .* columns id"),
        "array null": (
            "a.json",
            b'[{"text": null}]',
            r": row 0: 'text' must be a string, got None; data.null_rows=skip",
        ),
        "utf-8 in array": ("a.json", b'[{"text": "\xff"}]', r": must be UTF-8, got byte 0xff after offset 0"),
        "parquet": ("a.parquet", b"PAR1 no, it is not", r": must be a whole parquet file, got: "),
        "cut parquet": ("a.parquet", parquet[:-30], r": must be a whole parquet file, got: "),
        "damaged parquet": ("a.parquet", damaged, r": must be a whole parquet file, got: "),
        "empty parquet": ("a.parquet", b"", r": must be a whole parquet file, got: "),
        "parquet null": ("a.parquet", with_null, r": row 1: 'text' must be a string, got None"),
    }


@pytest.mark.parametrize("mistake", broken_files())
def test_broken_files_give_one_clear_line(folder: Path, mistake: str) -> None:
    name, content, message = broken_files()[mistake]
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        texts_of(open_files(data_config(train=[name]), folder))
    assert str(error.value).startswith(str(folder / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "texts", "n_null_rows"),
    [
        ("a.jsonl", b'{"text": null}\n{"text": "a"}\n{"text": null}\n', ["a"], 2),
        ("a.json", b'[{"text": "a"}, {"text": null}]', ["a"], 1),
        ("a.json", b'["a", "b"]', ["a", "b"], 0),
        ("a.json", b"\xef\xbb\xbf [] ", [], 0),
        ("a.parquet", parquet(["a", None, "b"]), ["a", "b"], 1),
    ],
)
def test_null_rows_are_skipped_and_counted_when_asked(
    folder: Path, name: str, content: bytes, texts: list[str], n_null_rows: int
) -> None:
    (folder / name).write_bytes(content)
    write_txt(folder / "last.txt", ["last"])
    write_txt(folder / "valid.txt", ["held"])
    corpus = open_files(data_config(train=[name, "last.txt"], valid=["valid.txt"], null_rows="skip"), folder)
    assert texts_of(corpus)["train"] == [*texts, "last"]
    assert corpus.facts["n_null_rows"] == n_null_rows


values = st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3))
rows = st.dictionaries(st.text(max_size=3), values, max_size=3) | st.text(max_size=20)


@given(st.lists(rows, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_items_of_an_array_are_those_of_the_whole(items: list[Any], size: int, indent: int | None, ascii: bool) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii)
    assert list(array_items(text[i : i + size] for i in range(0, len(text), size))) == items


def test_a_broken_array_is_not_read_to_its_end() -> None:
    taken: list[int] = []

    def chunks() -> Iterator[str]:
        for i in range(100):
            taken.append(i)
            yield '{"a": 1 "b": 2}, ' if i == 3 else '[{"a": "' + "x" * 50 + '"}, ' if i == 0 else '{"a": "x"}, '

    with pytest.raises(json.JSONDecodeError):
        list(array_items(chunks()))
    assert len(taken) < 10


def test_wrong_column_of_a_parquet_file(folder: Path) -> None:
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), folder / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: must have the column 'text' .* got the columns body, n$"):
        texts_of(open_files(data_config(train=["a.parquet"]), folder))
    with pytest.raises(ValueError, match=r"a\.parquet: column 'n' must hold strings, got int64$"):
        texts_of(open_files(data_config(train=["a.parquet"], text_column="n"), folder))


def test_a_split_without_documents_is_an_error(folder: Path) -> None:
    write_txt(folder / "a.txt", ["one", "two"])
    (folder / "blank.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"^data: must give at least one document for training, got 0"):
        texts_of(open_files(data_config(train=["blank.txt"]), folder))
    with pytest.raises(ValueError, match=r"^data\.valid: must give at least one document for validation, got 0$"):
        texts_of(open_files(data_config(train=["a.txt"], valid=["blank.txt"]), folder))
    with pytest.raises(ValueError, match=r"^data\.valid_fraction: must give .*, got 0 with 1e-09$"):
        texts_of(open_files(data_config(train=["a.txt"], valid_fraction=1e-9), folder))
    with pytest.raises(ValueError, match=r"^data\.max_bytes: must be at least 3, .* for training, got 2$"):
        texts_of(open_files(data_config(train=["a.txt"], valid_fraction=1e-9, max_bytes=2), folder))


# Held-out documents


def split(texts: list[str], valid: list[str] | None = None, **changes: Any) -> tuple[dict[Split, list[str]], Any]:
    """The documents of both splits, and the facts."""
    facts: dict[str, object] = {}
    given = (lambda: valid) if valid is not None else None
    return texts_of(Corpus(split_texts(lambda: texts, given, data_config(**changes), facts))), facts


def test_the_hash_is_the_same_on_every_machine() -> None:
    # SHA-256 of "onceuponatime" starts with 6a5a110c1b265f07, that is 0.41543… of the range.
    assert text_key("Once upon a time") == 0x6A5A110C1B265F07
    assert not is_held_out("Once upon a time", 0.4154)
    assert is_held_out("Once upon a time", 0.4155)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a fox\nmet hens", "a fox\r\nmet hens", True),
        ("a fox met hens", "  a fox \u00a0met\n\nhens \u3000", True),
        ("\u00c9t\u00e9", "E\u0301te\u0301", True),  # composed and decomposed
        ("\ufb01ve", "five", True),  # a ligature
        ("STRASSE", "straße", True),
        ("a fox met hens", "a fox met hens.", False),
        ("été", "ete", False),
    ],
)
def test_white_space_case_and_unicode_form_make_no_other_text(one: str, other: str, same: bool) -> None:
    assert (text_key(one) == text_key(other)) == same


@given(st.text(st.characters()))
def test_the_key_of_a_text_does_not_depend_on_how_it_is_read(text: str) -> None:
    want = text_key(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_AT_ONCE", 2)
        assert text_key(text) == want
    words = "".join(unicodedata.normalize("NFKC", text.casefold()).split())
    assert want == int(hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16], 16)


def test_copies_with_other_line_ends_never_stand_on_both_sides(folder: Path) -> None:
    texts = [f"Story {i}:\na fox met {i} hens.\nThey sang." for i in range(300)]
    for name, end, blank in (("lf.txt", "\n", ""), ("crlf.txt", "\r\n", ""), ("trailing.txt", "\n", "  ")):
        (folder / name).write_bytes(f"{end}{SEPARATOR}{end}".join(t.replace("\n", blank + end) for t in texts).encode())
    got = texts_of(open_files(data_config(train=["*.txt"], valid_fraction=0.1), folder))
    words = {split: [" ".join(text.split()) for text in texts] for split, texts in got.items()}
    assert len(words["train"]) + len(words["valid"]) == 900
    assert len(words["valid"]) == 3 * len(set(words["valid"])) > 0
    assert not set(words["train"]) & set(words["valid"])


@given(st.lists(documents, min_size=1), st.floats(0.1, 0.9), st.randoms())
def test_held_out_depends_on_the_text_alone(texts: list[str], fraction: float, rng: random.Random) -> None:
    marks = [str(i) for i in range(100)]  # so that both splits get some
    shuffled = [*texts, *marks, *(f"\n{text}\r\n" for text in texts)]  # duplicates but for what is stripped
    rng.shuffle(shuffled)
    held = set(split([*texts, *marks], valid_fraction=fraction)[0]["valid"])
    got, facts = split(shuffled, valid_fraction=fraction)
    assert set(got["valid"]) == held
    assert facts == {"validation": "documents held out by their content"}


def test_equal_documents_of_a_given_validation_text_are_counted() -> None:
    valid = ["one Fox", "two foxes", "one\nfox", "three"]
    got, facts = split(["four", "two\r\nfoxes ", "ONE FOX", "one fox"], valid)
    assert got["valid"] == valid
    assert facts == {"validation": "given", "n_valid_documents_in_train": 3}
    assert split(["four", "three"], valid, max_documents=1)[1]["n_valid_documents_in_train"] == 0


# Held-out ends


def test_a_long_document_is_held_at_most_twice(folder: Path) -> None:
    size = 2**24
    (folder / "book.txt").write_text(("Once upon a time. " * 1000 + "\n") * (size // 18_001))
    tracemalloc.start()
    try:
        with (folder / "out.txt").open("wb") as file:
            writer = DocumentWriter(file)
            for document in open_files(data_config(train=["book.txt"]), folder).documents:
                writer.write(document)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert writer.n_documents == 2
    assert peak < 2.5 * size  # twice the text, and a few pieces of it


def test_of_a_single_document_the_last_lines_are_held_out(folder: Path) -> None:
    lines = [f"Line {i:03} of a book." for i in range(200)]
    (folder / "book.txt").write_text("\n".join(lines) + "\n")
    for fraction, n_held in ((0.1, 20), (0.01, 2), (0.012, 3), (0.9, 180)):
        corpus = open_files(data_config(train=["book.txt"], valid_fraction=fraction), folder)
        texts = texts_of(corpus)
        assert texts == {"train": ["\n".join(lines[:-n_held])], "valid": ["\n".join(lines[-n_held:])]}
        assert corpus.facts["validation"] == "the last part of the text"


@pytest.mark.parametrize(
    ("texts", "fraction", "train", "valid"),
    [
        (["ten words of ten letters"], 0.25, ["ten words of ten "], ["letters"]),  # at a word, if there are no lines
        (["Title\n" + 100 * "x"], 0.1, ["Title\n" + 89 * "x"], [11 * "x"]),  # at a character, if no word begins near
        (["one", "two"], 0.2, ["one", "tw"], ["o"]),
        (["four", "five", "six", "1"], 0.2, ["four", "five"], ["six", "1"]),  # at a document
        (["a\nb\nc\nd", "A\r\nb\r\nc\r\nd"], 0.25, ["a\nb\nc"], ["d"]),  # a copy would have its end in both
    ],
)
def test_where_the_end_is_cut(texts: list[str], fraction: float, train: list[str], valid: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "is_held_out", lambda text, fraction: False)
        assert split(texts, valid_fraction=fraction)[0] == {"train": train, "valid": valid}


def test_held_out_fraction_is_about_right() -> None:
    n_held = sum(is_held_out(str(i), 0.1) for i in range(10_000))
    assert abs(n_held - 1000) < 5 * 30  # five standard deviations, sqrt(10000 * 0.1 * 0.9) each


# Bounds


def counted(texts: list[str]) -> tuple[Texts, list[str]]:
    """The texts as a source, and the list of those taken from it so far."""
    taken: list[str] = []

    def stream() -> Iterator[str]:
        for text in texts:
            taken.append(text)
            yield text

    return stream, taken


@given(st.lists(documents, min_size=1), st.integers(1, 8), st.integers(1, 60))
def test_bounds_are_the_longest_prefix_within_them(texts: list[str], max_documents: int, max_bytes: int) -> None:
    config = data_config(max_documents=max_documents, max_bytes=max_bytes)
    want: list[str] = []
    for text in texts[:max_documents]:
        if sum(len(other.encode()) for other in [*want, text]) > max_bytes:
            break
        want.append(text)
    stream, taken = counted(texts)
    got: list[str] = []
    try:
        got.extend(
            text for split, text, _ in split_texts(stream, lambda: ["held", "out"], config, {}) if split == "train"
        )
    except ValueError:
        got = []
    assert got == want
    assert len(taken) <= len(want) + 1


def test_nothing_is_read_behind_the_bound() -> None:
    stream, taken = counted(["one", "two", "three", "four"])
    config = data_config(max_documents=2)
    assert [text for _, text, _ in split_texts(stream, lambda: ["held"], config, {})] == ["held", "one", "two"]
    assert taken == ["one", "two"]


def test_held_out_documents_count_toward_no_bound() -> None:
    texts = [f"document {i}" for i in range(100)]
    documents = list(split_texts(lambda: texts, None, data_config(max_documents=10), {}))
    assert Counter(document.split for document in documents) == {"train": 10, "valid": ANY}
    assert documents[-1].split == "train"


# Fingerprints


def test_list_inputs_holds_content_and_names_only(folder: Path) -> None:
    for place in ("here", "there/deeper"):
        (folder / place).mkdir(parents=True)
        (folder / place / "a.txt").write_bytes(b"text")
        (folder / place / "b.txt").write_bytes(b"held out")
    config = data_config(train=["a.txt"], valid=["b.*"])
    here = list_inputs(config, folder / "here")
    assert here == [
        {"split": "train", "name": "a.txt", "size_bytes": 4, "sha256": hashlib.sha256(b"text").hexdigest()},
        {"split": "valid", "name": "b.txt", "size_bytes": 8, "sha256": hashlib.sha256(b"held out").hexdigest()},
    ]
    assert json.loads(json.dumps(list_inputs(config, folder / "there" / "deeper"))) == here


def test_list_inputs_imports_no_reader_of_parquet() -> None:
    program = "import sys, lm.corpus.files; print([m for m in ('pyarrow', 'datasets', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
