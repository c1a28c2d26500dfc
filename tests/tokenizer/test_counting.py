"""Tests of lm/tokenizer/counting.py."""

import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from lm.corpus.document import Document
from lm.corpus.stories import tell_stories
from lm.corpus.text_file import DocumentWriter, read_documents
from lm.tokenizer.alphabet import unspell
from lm.tokenizer.counting import WordCounts, count_file, count_texts

documents = st.lists(
    st.lists(
        st.sampled_from(["a", " a", " the fox's", "é", "狐" * 6, "\u3000", "\n", "  ", "\0", "x" * 30, " " + "x" * 15])
        | st.text(st.characters(codec="utf-8"), max_size=4),
        max_size=12,
    ).map("".join),
    max_size=4,
)


def write(path: Path, documents: list[str]) -> list[str]:
    """Write a file as the download does, and return the documents it holds."""
    with path.open("wb") as file:
        writer = DocumentWriter(file)
        for text in documents:
            writer.write(Document("train", text))
    return list(read_documents(path))


def counted_by_hugging_face(texts: list[str]) -> Counter[bytes]:
    splitter = ByteLevel(add_prefix_space=False)
    return Counter(unspell(word) for text in texts for word, _ in splitter.pre_tokenize_str(text))


def as_counter(words: WordCounts) -> Counter[bytes]:
    data, lengths, counts = words
    parts = [part.tobytes() for part in np.split(data, np.cumsum(lengths))[:-1]]
    assert len(set(parts)) == len(parts) == len(counts), "each word stands once"
    return Counter(dict(zip(parts, counts.tolist(), strict=True)))


@given(documents)
@example(["a a", "", "a", " a a"])
def test_the_words_of_texts_are_counted_as_hugging_face_cuts_them(texts: list[str]) -> None:
    assert as_counter(count_texts(texts)) == counted_by_hugging_face(texts)


@given(documents, st.integers(1, 100))
@example(["the fox said", "the fox said nothing"], 10)
def test_the_words_of_a_file_are_those_of_its_documents_however_it_is_read(documents: list[str], n_bytes: int) -> None:
    done: list[int] = []
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.corpus.text_file._BLOCK_BYTES", n_bytes)
        path = Path(folder) / "text.txt"
        texts = write(path, documents)
        words = count_file(path, 1, done.append)
        assert sum(done) == path.stat().st_size
    assert as_counter(words) == counted_by_hugging_face(texts)


@pytest.mark.usefixtures("others_work")
@pytest.mark.parametrize("n_processes", [2, 3])
def test_several_processes_count_what_one_does(
    tmp_path: Path, n_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each process gets several blocks; words that all of them have met, and words that only one has.
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 10_000)
    path, done = tmp_path / "text.txt", list[int]()
    stories = [f"{story.text} {i} {'x' * (i % 40)}é" for i, story in enumerate(tell_stories(3, "train", 200))]
    texts = write(path, stories)
    words = count_file(path, n_processes, done.append)
    assert as_counter(words) == as_counter(count_file(path, 1)) == counted_by_hugging_face(texts)
    assert len(done) > 4 * n_processes
    assert sum(done) == path.stat().st_size


def test_more_processes_than_blocks_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "text.txt", ["a b", "a"])
    assert as_counter(count_file(tmp_path / "text.txt", 3)) == Counter({b"a": 2, b" b": 1})


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_empty_file_has_no_words(tmp_path: Path, n_processes: int) -> None:
    (tmp_path / "text.txt").touch()
    assert as_counter(count_file(tmp_path / "text.txt", n_processes)) == Counter()


@pytest.mark.usefixtures("others_work")
@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_file_that_is_not_utf8_is_named_whoever_reads_it(tmp_path: Path, n_processes: int) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"caf\xe9\n<|endoftext|>\n")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: must be UTF-8, got byte 0xe9 at offset 3$"):
        count_file(path, n_processes)


def test_golden_counts() -> None:
    words = count_texts(["It's a fox. It's a fox.", "It"])
    assert as_counter(words) == Counter({b"It": 2, b"'s": 2, b" a": 2, b" fox": 2, b".": 2, b" It": 1})
