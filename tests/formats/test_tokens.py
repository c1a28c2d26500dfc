"""Tests of lm/formats/tokens.py."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.formats.tokens import MAX_VOCAB_SIZE, TokenCard, TokenFile, TokenWriter, check_vocab_size
from tests.small import write_tokens

ids = st.lists(st.integers(1, 299), max_size=20)


@given(st.lists(ids, max_size=6))
def test_documents_come_back_as_they_were_written_and_are_counted(documents: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokens = write_tokens(Path(folder), documents)
        assert [[int(id) for id in document] for document in tokens.documents()] == [[*ids, 0] for ids in documents]
        n_ids = sum(len(ids) for ids in documents)
        assert tokens.card == TokenCard(n_ids + len(documents), len(documents), n_ids, 300, 0, "ab" * 32)


def test_a_token_file_is_raw_little_endian_uint16_beside_a_json_card(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, [[1, 258], [65535]], vocab_size=65536)
    assert tokens.path.read_bytes() == bytes([1, 0, 2, 1, 0, 0, 255, 255, 0, 0])
    assert np.memmap(tokens.path, dtype=np.uint16, mode="r").tolist() == [1, 258, 0, 65535, 0]
    assert json.loads((tmp_path / "tokens.json").read_text()) == {
        "n_tokens": 5,
        "n_documents": 2,
        "n_bytes": 3,
        "vocab_size": 65536,
        "end_id": 0,
        "tokenizer_sha256": "ab" * 32,
    }


def test_a_failed_write_leaves_neither_file_nor_card(tmp_path: Path) -> None:
    def fail() -> None:
        with TokenWriter(
            tmp_path / "a.bin", tmp_path / "a.json", vocab_size=9, end_id=0, tokenizer_sha256=""
        ) as writer:
            writer.write(np.array([1, 2, 0], dtype=np.uint16), n_documents=1, n_bytes=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_beyond_16_bits_is_refused(tmp_path: Path) -> None:
    check_vocab_size(MAX_VOCAB_SIZE)
    rule = r"^tokenizer\.vocab_size: must be at most 65536 to fit uint16, got 65537$"
    with pytest.raises(ValueError, match=rule):
        check_vocab_size(65537)
    with pytest.raises(ValueError, match=rule):
        TokenWriter(tmp_path / "a.bin", tmp_path / "a.json", vocab_size=65537, end_id=0, tokenizer_sha256="")


def change_card(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], object]:
    def damage(path: Path, card: Path) -> None:
        values = json.loads(card.read_text())
        change(values)
        card.write_text(json.dumps(values))

    return damage


def append(data: bytes) -> Callable[[Path, Path], object]:
    return lambda path, card: path.write_bytes(path.read_bytes() + data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path, card: path.unlink(), r"tokens\.bin: no such file$"),
        (lambda path, card: card.unlink(), r"tokens\.json: no such file$"),
        (lambda path, card: card.write_text("{"), r"tokens\.json: not valid JSON"),
        (lambda path, card: card.write_text("[1]"), r"tokens\.json: must be the card of a token file, got \[1\]$"),
        (change_card(lambda values: values.pop("end_id")), r"tokens\.json: must be the card of a token file"),
        (change_card(lambda values: values.update(more=1)), r"tokens\.json: must be the card of a token file"),
        (append(b"\0"), r"tokens\.bin: must hold 2 bytes a token, got the odd size of 9 bytes$"),
        (append(b"\1\0"), r"tokens\.bin: must hold the 4 tokens of its card, got 5$"),
        (lambda path, card: path.write_bytes(b""), r"tokens\.bin: must hold the 4 tokens of its card, got 0$"),
        (
            change_card(lambda values: values.update(vocab_size=3)),
            r"tokens\.bin: ids must be below vocab_size=3, got 3$",
        ),
    ],
)
def test_a_damaged_file_is_named_with_the_rule_it_breaks(
    tmp_path: Path, damage: Callable[[Path, Path], object], message: str
) -> None:
    path, card = write_tokens(tmp_path, [[1, 3, 2]]).path, tmp_path / "tokens.json"
    damage(path, card)
    with pytest.raises(ValueError, match=message):
        TokenFile(path, card)


def test_an_id_beyond_the_vocabulary_is_found_in_whatever_part_of_the_file_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.formats.tokens._CHECKED_AT_ONCE", 4)
    for place in range(13):
        ids = [1] * 13  # and the end token: three parts of 4 and one of 2
        ids[place] = 9
        with pytest.raises(ValueError, match="ids must be below vocab_size=9, got 9"):
            write_tokens(tmp_path, [ids], vocab_size=9)


def test_an_empty_file_holds_no_documents(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, [])
    assert len(tokens.ids) == 0
    assert tokens.documents() == []


def test_tokens_after_the_last_end_are_not_dropped(tmp_path: Path) -> None:
    path, card = tmp_path / "tokens.bin", tmp_path / "tokens.json"
    with TokenWriter(path, card, vocab_size=9, end_id=0, tokenizer_sha256="") as writer:
        writer.write(np.array([1, 2, 0, 3], dtype=np.uint16), n_documents=1, n_bytes=3)
    with pytest.raises(ValueError, match=r"tokens\.bin: must end with the end token, id 0, got id 3$"):
        TokenFile(path, card).documents()
