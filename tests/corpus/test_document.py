"""Tests of lm/corpus/document.py."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lm.corpus import text_file
from lm.corpus.document import SEPARATOR, Document
from lm.corpus.text_file import DocumentWriter, read_documents

# Line ends of every kind, the separator and what looks like it turn up often, lone surrogates now and then.
line_ends = ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x85"]
pieces = st.sampled_from([*line_ends, " ", "\t", SEPARATOR, f"\n{SEPARATOR}\n", "a", "\ufeff"])
texts = st.lists(pieces | st.text(st.characters()), max_size=6).map("".join)


def write(path: Path, documents: list[Document]) -> DocumentWriter:
    with path.open("wb") as file:
        writer = DocumentWriter(file)
        for document in documents:
            writer.write(document)
    return writer


def as_documents(text: str) -> list[str]:
    """What a text becomes, said in another way: cut at separators, bare of outer line breaks, blank ones gone."""
    parts = re.split(re.escape(SEPARATOR), text.encode("utf-8", "replace").decode())
    return [bare for part in parts if (bare := part.strip("\r\n")).strip()]


@given(st.lists(texts, max_size=4))
@example([f"a\n{SEPARATOR}\r\n\r\nb\r\n"])
@example(["a\u2028b", "\ud800", "\ufeffa", "\ufeff", "a\rb"])
def test_documents_come_back_as_they_were_written_and_are_counted(documents: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        writer = write(path, [Document("train", text) for text in documents])
        read = list(read_documents(path))
    assert read == [part for text in documents for part in as_documents(text)]
    assert writer.n_documents == len(read)
    assert writer.n_bytes == sum(len(text.encode()) for text in read)


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\u2028b\x85c", " a ", "🦊 été"])
def test_a_text_without_separators_comes_back_unchanged(tmp_path: Path, text: str) -> None:
    write(tmp_path / "text.txt", [Document("train", text)])
    assert list(read_documents(tmp_path / "text.txt")) == [text]
    assert (tmp_path / "text.txt").read_bytes() == f"{text}\n{SEPARATOR}\n".encode()


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\r\n", "\u2028\t", SEPARATOR, f"\n{SEPARATOR}\n \n{SEPARATOR}"])
def test_a_blank_document_is_dropped(tmp_path: Path, text: str) -> None:
    writer = write(tmp_path / "text.txt", [Document("train", text)])
    assert writer.n_documents == writer.n_bytes == 0
    assert (tmp_path / "text.txt").read_bytes() == b""


def test_a_document_that_holds_the_separator_becomes_several(tmp_path: Path) -> None:
    writer = write(
        tmp_path / "text.txt", [Document("train", f"one\n{SEPARATOR}\ntwo\n{SEPARATOR}\r\nthree{SEPARATOR} four")]
    )
    assert list(read_documents(tmp_path / "text.txt")) == ["one", "two", "three", " four"]
    assert (writer.n_documents, writer.n_bytes) == (4, 16)


def test_a_lone_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    write(tmp_path / "text.txt", [Document("train", "a\ud83db")])
    assert list(read_documents(tmp_path / "text.txt")) == ["a?b"]


def test_every_document_needs_a_separator_and_a_file_may_hold_none(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(f"one\n{SEPARATOR}\ntwo".encode())
    with pytest.raises(ValueError, match="must end with a line"):
        list(read_documents(path))
    # The format has one rule: a separator with blanks around it is text, as it is to the tokenizer.
    path.write_bytes(f"one\n {SEPARATOR}\ntwo\n{SEPARATOR}\n".encode())
    assert list(read_documents(path)) == [f"one\n {SEPARATOR}\ntwo"]
    path.write_bytes(b"")
    assert list(read_documents(path)) == []


def test_the_entropy_floor_needs_the_bits_of_every_document(tmp_path: Path) -> None:
    known = [Document("train", "four", bits=6.0), Document("train", "four", bits=2.0)]
    assert write(tmp_path / "text.txt", []).bits_per_byte is None
    assert write(tmp_path / "text.txt", known).bits_per_byte == 1.0
    assert write(tmp_path / "text.txt", [known[0], Document("train", "four"), known[1]]).bits_per_byte is None


def test_a_long_document_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_CHARACTERS_AT_ONCE", 3)
    writer = write(tmp_path / "text.txt", [Document("train", "Füchse \ud83d und Hühner")])
    assert list(read_documents(tmp_path / "text.txt")) == ["Füchse ? und Hühner"]
    assert writer.n_bytes == len("Füchse ? und Hühner".encode())
