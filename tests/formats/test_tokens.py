"""Tests of lm/formats/tokens.py."""

import json
import tempfile
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.formats.tokens import MAX_VOCAB_SIZE, TokenCard, TokenFile, TokenWriter, Windows, check_vocab_size
from tests.small import write_tokens

ids = st.lists(st.integers(1, 299), max_size=20)


@cache
def count_up(n_tokens: int) -> TokenFile:
    """A file of one document that counts 1, 2, 3 and so on; its last id is the end token 0."""
    folder = tempfile.TemporaryDirectory()
    tokens = write_tokens(Path(folder.name), [list(range(1, n_tokens))], vocab_size=n_tokens + 1)
    weakref.finalize(tokens, folder.cleanup)
    return tokens


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
        (append(b"\1\0"), r"tokens\.bin: must hold the 4 tokens its card names, got 5$"),
        (lambda path, card: path.write_bytes(b""), r"tokens\.bin: must hold the 4 tokens its card names, got 0$"),
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


def test_an_empty_file_holds_no_documents_and_no_windows(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, [])
    assert len(tokens.ids) == 0
    assert tokens.documents() == []
    with pytest.raises(ValueError, match=r"tokens\.bin: must hold at least context_length \+ 1 = 9 tokens, got 0$"):
        tokens.windows(8)


def test_a_file_shorter_than_one_window_is_an_error_and_one_as_long_is_not() -> None:
    with pytest.raises(ValueError, match=r"must hold at least context_length \+ 1 = 9 tokens, got 8$"):
        count_up(8).windows(8)
    windows = count_up(9).windows(8)
    assert windows.draw(0, 0, 3).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 0]] * 3
    assert windows.spread(3).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 0]]


def starts_of(windows: NDArray[np.int64], n_tokens: int) -> list[int]:
    """Where windows of a `count_up` file start, each of which must be a run of the file."""
    starts = windows[:, 0] - 1
    expected = (starts[:, None] + 1 + np.arange(windows.shape[1])) % n_tokens  # the last id of the file is 0
    assert (windows == expected).all()
    # A window that ran over the end would start again from 0, and so hold the end token before its last place.
    assert (windows[:, :-1] > 0).all()
    return [int(start) for start in starts]


sizes = st.integers(1, 9).flatmap(lambda length: st.tuples(st.just(length), st.integers(length + 1, 6 * length + 3)))
seeds = st.integers(0, 2**32 - 1)


@given(sizes, seeds, st.integers(0, 5))
def test_an_epoch_visits_each_of_its_windows_once_and_they_do_not_overlap(
    size: tuple[int, int], seed: int, epoch: int
) -> None:
    context_length, n_tokens = size
    windows = count_up(n_tokens).windows(context_length)
    per_epoch = windows.per_epoch
    drawn = starts_of(windows.draw(seed, epoch * per_epoch, per_epoch), n_tokens)
    first = min(drawn)
    assert sorted(drawn) == [first + i * context_length for i in range(per_epoch)]
    assert 0 <= first < context_length or per_epoch == 1
    assert max(drawn) + context_length + 1 <= n_tokens
    # At most one window that fits is left out.
    assert per_epoch >= max(1, (n_tokens - 1) // context_length - 1)


@given(sizes, seeds, st.integers(0, 40), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_draws_do_not_depend_on_how_the_sequence_is_cut(
    size: tuple[int, int], seed: int, first: int, counts: list[int]
) -> None:
    context_length, n_tokens = size
    tokens = count_up(n_tokens)
    whole = tokens.windows(context_length).draw(seed, first, sum(counts))
    in_parts, backwards = tokens.windows(context_length), tokens.windows(context_length)
    places = first + np.cumsum([0, *counts[:-1]])
    parts = [in_parts.draw(seed, int(place), count) for place, count in zip(places, counts, strict=True)]
    single = [backwards.draw(seed, first + i, 1) for i in reversed(range(sum(counts)))]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert np.concatenate(single[::-1]).tolist() == whole.tolist()


def test_every_offset_at_which_an_epoch_can_start_turns_up() -> None:
    windows = count_up(4 * 5 + 2).windows(4)  # 4 windows, and 6 tokens to spare: offsets 0 to 3
    offsets = {min(starts_of(windows.draw(0, epoch * 4, 4), 22)) for epoch in range(60)}
    assert offsets == {0, 1, 2, 3}
    single = count_up(7).windows(4)  # 1 window in 7 tokens: offsets 0 to 2
    assert set(starts_of(single.draw(0, 0, 60), 7)) == {0, 1, 2}


def test_different_epochs_and_seeds_have_different_orders() -> None:
    windows = count_up(300).windows(4)
    n = windows.per_epoch
    orders = [starts_of(windows.draw(seed, epoch * n, n), 300) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert all(order != sorted(order) for order in orders)


def test_golden_windows_of_a_tiny_file() -> None:
    # NumPy promises the bits of Philox for ever, but not those of `permutation`: a change of this list by a new NumPy
    # changes every run, and is to be noticed.
    windows = count_up(24).windows(4)
    assert starts_of(windows.draw(1337, 0, 12), 24) == [6, 10, 2, 14, 18, 12, 16, 8, 4, 0, 1, 13]


@given(sizes, st.integers(1, 12))
def test_spread_windows_lie_evenly_inside_the_file(size: tuple[int, int], count: int) -> None:
    context_length, n_tokens = size
    windows = count_up(n_tokens).windows(context_length)
    starts = starts_of(windows.spread(count), n_tokens)
    n_windows = (n_tokens - 1) // context_length
    assert len(starts) == min(count, n_windows)
    assert starts[0] == 0
    assert all(start % context_length == 0 for start in starts)
    gaps = np.diff([*starts, n_windows * context_length])
    assert gaps.max() - gaps.min() in (0, context_length)


@given(sizes, seeds, seeds)
def test_drawing_under_two_seeds_in_turn_changes_neither(size: tuple[int, int], one: int, other: int) -> None:
    assume(one != other)
    context_length, n_tokens = size
    tokens = count_up(n_tokens)
    shared = tokens.windows(context_length)
    mixed = [shared.draw(seed, i, 1).tolist() for i in range(4) for seed in (one, other)]
    alone = [Windows(tokens, context_length).draw(seed, i, 1).tolist() for i in range(4) for seed in (one, other)]
    assert mixed == alone
