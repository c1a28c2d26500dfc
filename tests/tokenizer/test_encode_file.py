"""Tests of lm/tokenizer/encode_file.py."""

import json
import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers

from lm.corpus.document import SEPARATOR
from lm.formats.tokens import TokenCard, TokenFile
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.encode_file import encode_file
from lm.tokenizer.learning import bytes_alone, learn_bpe, learn_characters
from lm.tokenizer.load import parse_tokenizer
from lm.tokenizer.tokenizer import Tokenizer
from tests.small import DOCUMENTS, tokenizer_config

every_kind = pytest.mark.parametrize("kind", ["bpe", "byte", "char", "library"])


@cache
def tokenizer(kind: str) -> Tokenizer:
    """A tokenizer of each kind."""
    words = count_texts(DOCUMENTS)
    if kind == "byte":
        return bytes_alone(tokenizer_config(kind="byte"))
    if kind == "char":
        return learn_characters(words, tokenizer_config(kind="char"))
    learned = learn_bpe(words, tokenizer_config())
    if kind == "bpe":
        return learned
    model = json.loads(learned.definition)["model"]
    theirs = Library(models.BPE(vocab=model["vocab"], merges=[(left, right) for left, right in model["merges"]]))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(list(learned.special_tokens))
    return parse_tokenizer(theirs.to_str())


# Documents as a text file can hold them: neither blank nor with outer line breaks.
def is_document(text: str) -> bool:
    return text.strip() != "" and SEPARATOR not in map(str.strip, text.split("\n")) and text == text.strip("\r\n")


documents = st.lists(
    (
        st.text(st.characters(codec="utf-8"), min_size=1)
        | st.lists(st.sampled_from([*" '\naé你🦊", "the little", "<|endoftext|>", "'s", "\u3000"])).map("".join)
    ).filter(is_document),
    max_size=8,
)


def write_text(path: Path, texts: Iterator[str] | list[str]) -> Path:
    with path.open("wb") as file:
        for text in texts:
            file.write(f"{text}\n{SEPARATOR}\n".encode())
    return path


def encoded(kind: str, folder: Path, name: str = "a", n_processes: int | None = 1) -> bytes:
    """The token file of text.txt in a folder."""
    encode_file(
        tokenizer(kind), folder / "text.txt", folder / f"{name}.bin", folder / f"{name}.json", n_processes=n_processes
    )
    return (folder / f"{name}.bin").read_bytes()


def ids_of(kind: str, texts: list[str]) -> list[int]:
    """The ids of each document encoded by itself, with the end of each."""
    return [id for text in texts for id in [*tokenizer(kind).encode(text), tokenizer(kind).end_id]]


@every_kind
@given(documents=documents, block_bytes=st.integers(2, 60))
@example(documents=["<|endoftext|> a", "a <|endoftext|>", "a\n <|endoftext|>b"], block_bytes=2)
@example(documents=["a" * 40 + " \n" * 40 + "é" * 40], block_bytes=5)
@example(documents=["🦊" * 30, "\U00100000" * 30], block_bytes=7)
def test_a_file_encoded_as_a_stream_equals_each_document_encoded_by_itself(
    kind: str, documents: list[str], block_bytes: int
) -> None:
    done: list[int] = []
    ours = tokenizer(kind)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.corpus.text_file._BLOCK_BYTES", block_bytes)
        folder = Path(name)
        write_text(folder / "text.txt", documents)
        card = encode_file(ours, folder / "text.txt", folder / "a.bin", folder / "a.json", done.append, n_processes=1)
        tokens = TokenFile(folder / "a.bin", folder / "a.json")
        ids = tokens.ids.tolist()
    n_bytes = sum(len(text.encode()) for text in documents)
    assert ids == ids_of(kind, documents)
    assert sum(done) == n_bytes
    assert card == tokens.card
    assert card == TokenCard(len(ids), len(documents), n_bytes, ours.vocab_size, ours.end_id, ours.sha256)


@every_kind
def test_an_empty_text_gives_an_empty_token_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").touch()
    for n_processes in (None, 1, 2):
        assert encoded(kind, tmp_path, n_processes=n_processes) == b""
        card = TokenFile(tmp_path / "a.bin", tmp_path / "a.json").card
        assert (card.n_tokens, card.n_documents, card.n_bytes) == (0, 0, 0)


@pytest.mark.usefixtures("others_work")
@every_kind
def test_several_processes_give_the_same_bytes_as_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 2000)
    texts = [f"{text} {i}" for i, text in enumerate(DOCUMENTS * 8)]
    texts[20] *= 100  # several blocks are parts of this one
    write_text(tmp_path / "text.txt", texts)
    assert len(encoded(kind, tmp_path)) == 2 * len(ids_of(kind, texts))
    for n_processes in (2, 3):
        assert encoded(kind, tmp_path, "b", n_processes) == encoded(kind, tmp_path)
        assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "a.bin", "a.json", "b.bin", "b.json"}


@every_kind
@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("character", ["é", "你", "🦊", "\U0010ffff"])
def test_a_document_that_is_larger_than_a_block_is_not_cut_inside_a_character(
    kind: str, character: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Wherever the first block ends, with one start or another that is in the middle of a character.
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 2000)
    texts = ["a" * start + character * 1100, "b"]
    write_text(tmp_path / "text.txt", texts)
    assert encoded(kind, tmp_path) == encoded_alone(kind, texts)


def encoded_alone(kind: str, texts: list[str]) -> bytes:
    """The ids of each document encoded by itself, as bytes."""
    return b"".join(tokenizer(kind).encode_block(text.encode() + b"\xff").astype("<u2").tobytes() for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "char", "library"])
def test_huge_documents_are_encoded_as_a_whole(kind: str, tmp_path: Path) -> None:
    parts = ["Once upon a time, ", "a", "\u3000", "你好", "1200!x" + " " * 99]
    n_bytes = 2**20 if kind == "library" else 3 * 2**19  # the library makes very long lists of them
    texts = [f"b{part * (n_bytes // len(part.encode()))}b" for part in (parts[:2] if kind == "library" else parts)]
    write_text(tmp_path / "text.txt", texts)
    assert encoded(kind, tmp_path) == encoded_alone(kind, texts)


@pytest.mark.parametrize("kind", ["bpe", "byte", "char"])
@pytest.mark.parametrize("n_documents", [3000, 1])
def test_memory_does_not_grow_with_the_file(
    kind: str, n_documents: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 10_000)

    def peak_bytes(n_parts: int) -> int:
        texts = [f"{i % 1000} " * 100 + "." for i in range(n_parts)]
        write_text(tmp_path / "text.txt", texts if n_documents > 1 else ["".join(texts)])
        del texts
        tracemalloc.start()
        card = encode_file(
            tokenizer(kind), tmp_path / "text.txt", tmp_path / "a.bin", tmp_path / "a.json", n_processes=1
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert card.n_bytes > 300 * n_parts
        return peak

    peak_bytes(1000)  # what is remembered of words is there from now on
    assert peak_bytes(4000) < 1.2 * peak_bytes(1000)
    # A block of 10 kB, and arrays with some numbers of 8 bytes for each of its bytes; the file has 2 MB.
    assert peak_bytes(1000) < 1_000_000


def test_blocks_are_filled_before_they_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    ours = tokenizer("char")
    assert isinstance(ours, CharacterTokenizer)
    encode_block = CharacterTokenizer.encode_block

    def counting(self: CharacterTokenizer, block: bytes) -> object:
        sizes.append(block.count(b"\xff"))
        return encode_block(self, block)

    monkeypatch.setattr(CharacterTokenizer, "encode_block", counting)
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 200)
    write_text(tmp_path / "text.txt", ["x" * 30] * 10)  # with the separator 45 bytes each
    encoded("char", tmp_path)
    assert sizes == [4, 4, 2]


LATE = b"a b \n" * 500  # more than a block


@every_kind
@pytest.mark.parametrize(
    ("data", "byte", "place"),
    [
        (b"\xff\xfe", 0xFF, 0),
        (b"caf\xe9 ", 0xE9, 3),
        (b"a\xed\xa0\x80", 0xED, 1),
        (b"\xf0\x9f\xa6", 0xF0, 0),
        (LATE + b"\xf8\xbf\xbf\xbf", 0xF8, len(LATE)),
        (LATE + b"\xf4\xbf\xbf\xbf", 0xF4, len(LATE)),
        (b"\xf7\xbf\xbf\xbf " * 1000, 0xF7, 0),
        (b"\x80" * 5000, 0x80, 0),
        (b"\xff" * 5000, 0xFF, 0),
        (b"\xe9" * 5000, 0xE9, 0),
    ],
    ids=lambda value: ascii(value[-6:]) if isinstance(value, bytes) else None,
)
def test_text_that_is_not_utf8_is_one_clear_error_and_leaves_no_token_file(
    kind: str, data: bytes, byte: int, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 2000)
    (tmp_path / "text.txt").write_bytes(data + f"\n{SEPARATOR}\n".encode())
    error = rf"^{tmp_path}/text\.txt: must be UTF-8, got byte {byte:#x} at offset {place}$"
    with pytest.raises(ValueError, match=error):
        encoded(kind, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.usefixtures("others_work")
def test_an_error_in_another_process_is_the_same_one_and_leaves_no_token_file(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(f"a\n{SEPARATOR}\nb".encode() + b"\xff" + f"\n{SEPARATOR}\n".encode())
    with pytest.raises(ValueError, match=rf"^{tmp_path}/text\.txt: must be UTF-8, got byte 0xff at offset 17$"):
        encoded("bpe", tmp_path, n_processes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("data", ["a", "a\n<|endoftext|>", "a\n<|endoftext|>\nb\n", "a <|endoftext|>\n", "b " * 2**20])
@pytest.mark.parametrize("before", ["", "a\n<|endoftext|>\n"])
def test_a_last_document_without_an_end_is_one_clear_error_and_leaves_no_token_file(
    data: str, before: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(before + data, encoding="utf-8")
    message = rf"^{tmp_path}/text\.txt: must end with a line <\|endoftext\|>, as every document does$"
    with pytest.raises(ValueError, match=message):
        encoded("bpe", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a", "\n", f"{SEPARATOR}\n", f"\n{SEPARATOR}\n", " "]), max_size=8).map("".join))
def test_whatever_the_file_the_card_counts_the_ends_in_the_token_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text.txt").write_text(text, encoding="utf-8")
        try:
            encoded("bpe", folder)
        except ValueError:
            return
        tokens = TokenFile(folder / "a.bin", folder / "a.json")
        assert sum(map(len, tokens.documents())) == len(tokens.ids)  # each is ended
        assert len(tokens.documents()) == tokens.card.n_documents


def test_an_interrupted_run_leaves_no_token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.corpus.text_file._BLOCK_BYTES", 1000)
    write_text(tmp_path / "text.txt", DOCUMENTS * 9)

    def interrupt(n_bytes: int) -> None:
        raise KeyboardInterrupt

    for n_processes in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            encode_file(
                tokenizer("bpe"), tmp_path / "text.txt", tmp_path / "a.bin", tmp_path / "a.json", interrupt, n_processes
            )
        assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_failed_run_leaves_the_file_of_an_earlier_one_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "text.txt", DOCUMENTS)
    before = encoded("bpe", tmp_path)
    (tmp_path / "text.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must"):
        encoded("bpe", tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.json", "text.txt"]


def test_a_vocabulary_beyond_16_bits_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "text.txt", ["a"])
    characters = [chr(code) for code in range(0x10000, 0x20000)]
    large = CharacterTokenizer([SEPARATOR, *characters, "\ufffd"], {SEPARATOR: 0})
    rule = r"^tokenizer\.vocab_size: must be at most 65536 to fit uint16, got 65538$"
    with pytest.raises(ValueError, match=rule):
        encode_file(large, tmp_path / "text.txt", tmp_path / "a.bin", tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_missing_text_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        encoded("bpe", tmp_path, n_processes=None)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (names alone)
