"""Tests of lm/corpus/text_file.py."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lm.corpus import text_file as module
from lm.corpus.document import Document
from lm.corpus.text_file import BOUNDARY, Block, DocumentWriter, blocks, read_documents
from lm.tokenizer.alphabet import BYTES_IN_ORDER
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.splitting import last_cut, word_starts
from lm.tokenizer.tokenizer import Tokenizer

SEPARATOR = b"\n<|endoftext|>\n"
SPECIAL = {"<|endoftext|>": 0}

BYTES = [bytes([byte]) for byte in BYTES_IN_ORDER]
BPE = BpeTokenizer(
    [b"<|endoftext|>", *BYTES, b"  ", b" a", b"aa"],
    [(1 + BYTES.index(left), 1 + BYTES.index(right)) for left, right in [(b" ", b" "), (b" ", b"a"), (b"a", b"a")]],
    SPECIAL,
)
CHARACTERS = CharacterTokenizer([*SPECIAL, " ", "a", "é", "\ufffd", "🦊"], SPECIAL)

documents = st.lists(
    st.lists(
        st.sampled_from([" ", "  ", "\n", "\r\n", "\u3000", "a", "aa aa", "'s", "é", "狐", "🦊", "\U00100000", "\0"])
        | st.sampled_from(["<|endoftext|>", " <|endoftext|>\n", "\n<|endoftext|", "x" * 50])
        | st.text(st.characters(codec="utf-8"), max_size=3),
        max_size=16,
    ).map("".join),
    max_size=3,
)


def write(path: Path, documents: list[str]) -> list[str]:
    """Write a file as the download does, and return the documents it holds."""
    with path.open("wb") as file:
        writer = DocumentWriter(file)
        for text in documents:
            writer.write(Document("train", text))
    return list(read_documents(path))


@contextmanager
def blocks_of(n_bytes: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", n_bytes)
        yield


def check(path: Path, texts: list[str]) -> None:
    """Blocks cover the file, tear nothing, and are encoded as the documents are."""
    whole = b"".join(text.encode() + BOUNDARY for text in texts)
    parts = list(blocks(path, last_cut))
    places = [(part.start, part.end) for part in parts]
    assert [0, *(end for _, end in places)] == [*(start for start, _ in places), path.stat().st_size]
    assert all(start < end for start, end in places)
    assert b"".join(part.read() for part in parts) == whole
    assert sum(len(word_starts(part.read())) for part in parts) == len(word_starts(whole))
    for tokenizer in (BPE, CHARACTERS):
        ids = [tokenizer.encode_block(part.read()) for part in blocks(path, tokenizer.last_cut)]
        expected = [id for text in texts for id in (*tokenizer.encode(text), tokenizer.end_id)]
        assert [id for part in ids for id in part.tolist()] == expected


@given(documents, st.integers(1, 100))
@example(["a a  a  狐狐\u3000\u3000 'a  é's" * 5], 30)
@example(["a\n<|endoftext|", "<|endoftext|> a", "a" * 40], 20)
def test_blocks_cover_the_file_and_are_encoded_as_its_documents(documents: list[str], n_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder, blocks_of(n_bytes):
        path = Path(folder) / "text.txt"
        check(path, write(path, documents))


@pytest.mark.parametrize(
    "character", ["é", "狐", "🦊", "\U00100000", "\U0010ffff", "1²", "\u3000", "'s", "  ", "a<|endoftext|>\n"]
)
def test_a_document_may_have_any_character_where_a_block_ends(tmp_path: Path, character: str) -> None:
    texts = write(tmp_path / "text.txt", [f"some words {character} and {character * 3}" * 9])
    for n_bytes in range(50, 80):
        with blocks_of(n_bytes):
            check(tmp_path / "text.txt", texts)


def test_a_separator_may_stand_anywhere_at_the_end_of_a_block(tmp_path: Path) -> None:
    for length in range(30, 120):
        texts = write(tmp_path / "text.txt", [("one two " * 20)[:length].strip(), "three"])
        with blocks_of(64):
            check(tmp_path / "text.txt", texts)


def sizes(path: Path, cut: Callable[[bytes], int] = last_cut) -> list[int]:

    return [block.end - block.start for block in blocks(path, cut)]


def test_a_block_holds_as_many_whole_documents_as_fit(tmp_path: Path) -> None:
    write(tmp_path / "text.txt", ["x" * 10] * 10)  # of 25 bytes each with their separators
    with blocks_of(99):
        assert sizes(tmp_path / "text.txt") == [75, 75, 75, 25]
    with blocks_of(100):
        assert sizes(tmp_path / "text.txt") == [100, 100, 50]
    assert sizes(tmp_path / "text.txt") == [250]


def test_a_document_larger_than_a_block_is_cut_into_blocks_of_about_that_size(tmp_path: Path) -> None:
    write(tmp_path / "text.txt", ["short", "some words " * 1_000, "short"])
    with blocks_of(1_000):
        found = sizes(tmp_path / "text.txt")
    assert found[0] == 20
    # Words of 6 bytes at most, 8 bytes on which a cut depends, and 15 that may be the beginning of a separator.
    assert all(1_000 - 30 < size <= 1_000 for size in found[1:-1])
    assert sum(found) == 20 + 11_000 + 15 + 20


def test_where_there_is_no_cut_a_block_holds_the_whole_word_or_document(tmp_path: Path) -> None:
    write(tmp_path / "text.txt", ["once upon a " + "x" * 1_000 + " time there was", "an end" * 20])
    with blocks_of(100):
        assert max(sizes(tmp_path / "text.txt")) > 1_000
        assert sizes(tmp_path / "text.txt", lambda text: 0) == [1_012 + 15 + 15 + 120 + 15]  # blocks double


def test_a_file_without_documents_has_no_blocks(tmp_path: Path) -> None:
    (tmp_path / "text.txt").touch()
    assert sizes(tmp_path / "text.txt") == []


@given(st.lists(st.sampled_from(["", "", "a", "a\n", "one two three four"]), max_size=6), st.integers(1, 60))
@example([""], 60)
@example(["a", ""], 20)
@example(["one two three four five", "", ""], 30)
def test_a_file_from_elsewhere_may_have_documents_without_text(documents: list[str], n_bytes: int) -> None:
    # Whose line <|endoftext|> follows that of the document before; how the file is read must not matter.
    with tempfile.TemporaryDirectory() as folder, blocks_of(n_bytes):
        path = Path(folder) / "text.txt"
        path.write_text("".join(f"{text}\n<|endoftext|>\n" if text else "<|endoftext|>\n" for text in documents))
        read = b"".join(block.read() for block in blocks(path, last_cut))
    assert read == b"".join(text.encode() + BOUNDARY for text in documents)


@pytest.mark.parametrize("n_bytes", [20, 64, 2**20])
@pytest.mark.parametrize(
    "data",
    [
        b"some text",
        b"some text\n",
        b"some text\n<|endoftext|>",
        b"some text <|endoftext|>\n",
        b"some text\n<|endoftext|>\nmore",
        b"some text\n<|endoftext|>\n\n",
        b"some text " * 20,
        b"x" * 100,
        "狐".encode() * 100,
        (b"some text " * 20 + SEPARATOR) * 2 + b"more text " * 20 + SEPARATOR[:-1],
    ],
)
def test_a_document_without_an_end_is_named(tmp_path: Path, data: bytes, n_bytes: int) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    with blocks_of(n_bytes), pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        list(blocks(path, last_cut))
    assert str(caught.value) == f"{path}: must end with a line <|endoftext|>, as every document does"


def read_all(path: Path, tokenizer: Tokenizer) -> list[bytes]:
    return [block.read() for block in blocks(path, tokenizer.last_cut)]


# Bytes that no text holds, the middle of a character, half a character, a surrogate, and more than there are.
@pytest.mark.parametrize("wrong", [b"\xff", b"\xfe", b"\xf5", b"\xf8", b"\xc0", b"\x80", b"\xe7", b"\xf4", b"\xf4\x90"])
@pytest.mark.parametrize("n_bytes", [20, 50, 64, 2**20])
@pytest.mark.parametrize("tokenizer", [BPE, CHARACTERS])
def test_a_byte_that_is_no_utf8_is_named_wherever_it_stands(
    tmp_path: Path, wrong: bytes, n_bytes: int, tokenizer: Tokenizer
) -> None:
    path = tmp_path / "text.txt"
    for place in (0, 10, *range(190, 220), 417):
        data = ("so many words é狐🦊 " * 20).encode()
        place = len(data[:place].decode(errors="ignore").encode())  # between two characters
        data = data[:place] + wrong + b" " + data[place:] + SEPARATOR
        path.write_bytes(b"short" + SEPARATOR + data)
        error = rf"{re.escape(str(path))}: must be UTF-8, got byte {wrong[0]:#x} at offset {20 + place}$"
        with blocks_of(n_bytes), pytest.raises(ValueError, match=error):
            read_all(path, tokenizer)


def test_golden_blocks(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    write(path, ["one", "two words", "three"])
    with blocks_of(45):
        first, second = blocks(path, last_cut)
    assert (first, second) == (Block(path, 0, 42, True), Block(path, 42, 62, True))
    assert (first.read(), second.read()) == (b"one\xfftwo words\xff", b"three\xff")


def test_a_long_document_has_the_same_words_in_blocks_of_the_usual_size(tmp_path: Path) -> None:
    text = "".join(f"The fox said: 'I'm {i}\u2003years old…'\r\n\tЁж's 🦊. " for i in range(60_000))
    texts = write(tmp_path / "text.txt", [text])
    assert len(sizes(tmp_path / "text.txt")) == 1 + len(text.encode()) // module._BLOCK_BYTES
    parts = [part.read() for part in blocks(tmp_path / "text.txt", last_cut)]
    starts = np.cumsum([0, *map(len, parts)])
    words = [start + word_starts(part) for start, part in zip(starts[:-1], parts, strict=True)]
    assert np.array_equal(np.concatenate(words), word_starts(texts[0].encode() + BOUNDARY))
    assert all(b"\n<|endoftext|>" not in a[-20:] + b[:20] for a, b in pairwise(parts))
