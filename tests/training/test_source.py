"""Tests of lm/training/source.py."""

import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.formats.tokens import TokenFile
from lm.training.batch import Batch
from lm.training.source import Documents, Source, Windows, open_source
from tests.small import train_config, write_tokens


@cache
def count_up(n_tokens: int) -> TokenFile:
    """A file of one document that counts 1, 2, 3 and so on; its last id is the end token 0."""
    folder = tempfile.TemporaryDirectory()
    tokens = write_tokens(Path(folder.name), [list(range(1, n_tokens))], vocab_size=n_tokens + 1)
    weakref.finalize(tokens, folder.cleanup)
    return tokens


def test_windows_are_a_source() -> None:
    assert isinstance(Windows(count_up(9).ids, 8), Source)
    assert Windows(count_up(9).ids, 8).context_length == 8


@pytest.mark.parametrize("n_tokens", [1, 8])
def test_a_file_shorter_than_one_window_is_an_error_and_one_as_long_is_not(n_tokens: int) -> None:
    with pytest.raises(ValueError, match=rf"must hold at least context_length \+ 1 = 9 tokens, got {n_tokens}$"):
        Windows(count_up(n_tokens).ids, 8)
    windows = Windows(count_up(9).ids, 8)
    assert drawn(windows.draw(0, 0, 3)).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 0]] * 3
    assert drawn(windows.spread(3)).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 0]]


def drawn(batch: Batch) -> NDArray[np.int64]:
    """The windows of a batch, of which the targets must be the inputs one further on."""
    assert (batch.targets[:, :-1] == batch.inputs[:, 1:]).all()
    assert (batch.weights == 1).all()
    return np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)


def starts_of(batch: Batch, n_tokens: int) -> list[int]:
    """Where windows of a `count_up` file start, each of which must be a run of the file."""
    windows = drawn(batch)
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
    windows = Windows(count_up(n_tokens).ids, context_length)
    per_epoch = windows.per_epoch
    starts = starts_of(windows.draw(seed, epoch * per_epoch, per_epoch), n_tokens)
    first = min(starts)
    assert sorted(starts) == [first + i * context_length for i in range(per_epoch)]
    assert 0 <= first < 2 * context_length
    assert max(starts) + context_length + 1 <= n_tokens
    # At most one window that fits is left out.
    assert per_epoch >= max(1, (n_tokens - 1) // context_length - 1)


@given(sizes, seeds, st.integers(0, 40), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_draws_do_not_depend_on_how_the_sequence_is_cut(
    size: tuple[int, int], seed: int, first: int, counts: list[int]
) -> None:
    context_length, n_tokens = size
    tokens = count_up(n_tokens)
    whole = drawn(Windows(tokens.ids, context_length).draw(seed, first, sum(counts)))
    in_parts, backwards = Windows(tokens.ids, context_length), Windows(tokens.ids, context_length)
    places = first + np.cumsum([0, *counts[:-1]])
    parts = [drawn(in_parts.draw(seed, int(place), count)) for place, count in zip(places, counts, strict=True)]
    single = [drawn(backwards.draw(seed, first + i, 1)) for i in reversed(range(sum(counts)))]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert np.concatenate(single[::-1]).tolist() == whole.tolist()


def test_every_offset_at_which_an_epoch_can_start_turns_up() -> None:
    windows = Windows(count_up(4 * 5 + 2).ids, 4)  # 4 windows, and 6 tokens to spare: offsets 0 to 5
    offsets = {min(starts_of(windows.draw(0, epoch * 4, 4), 22)) for epoch in range(60)}
    assert offsets == {0, 1, 2, 3, 4, 5}
    single = Windows(count_up(7).ids, 4)  # 1 window in 7 tokens: offsets 0 to 2
    assert set(starts_of(single.draw(0, 0, 60), 7)) == {0, 1, 2}


@pytest.mark.parametrize("n_tokens", range(4 + 1, 5 * 4 + 1))
def test_every_token_but_the_first_is_a_target_in_some_epoch(n_tokens: int) -> None:
    windows = Windows(count_up(n_tokens).ids, 4)
    targets = windows.draw(3, 0, 80 * windows.per_epoch).targets
    assert set(targets.flatten().tolist()) == {*range(2, n_tokens), 0}  # the file holds 1, 2, ..., 0


def test_different_epochs_and_seeds_have_different_orders() -> None:
    windows = Windows(count_up(300).ids, 4)
    n = windows.per_epoch
    orders = [starts_of(windows.draw(seed, epoch * n, n), 300) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert all(order != sorted(order) for order in orders)


def test_golden_windows_of_a_tiny_file() -> None:
    # NumPy promises the bits of Philox for ever, but not those of `permutation`: a change of this list by a new NumPy
    # changes every run, and is to be noticed.
    windows = Windows(count_up(24).ids, 4)
    assert starts_of(windows.draw(1337, 0, 12), 24) == [6, 10, 2, 14, 18, 12, 16, 8, 4, 0, 1, 13]


@given(sizes, st.integers(1, 12))
def test_spread_windows_lie_evenly_from_the_first_token_to_the_last(size: tuple[int, int], count: int) -> None:
    context_length, n_tokens = size
    windows = Windows(count_up(n_tokens).ids, context_length)
    starts = starts_of(windows.spread(count), n_tokens)
    assert len(starts) == min(count, (n_tokens - 1) // context_length)
    assert starts[0] == 0
    if len(starts) > 1:
        assert starts[-1] + context_length == n_tokens - 1
        gaps = np.diff(starts)
        assert gaps.min() >= context_length  # no token counts twice
        assert gaps.max() - gaps.min() <= 1


@given(sizes, seeds, seeds)
def test_drawing_under_two_seeds_in_turn_changes_neither(size: tuple[int, int], one: int, other: int) -> None:
    assume(one != other)
    context_length, n_tokens = size
    tokens = count_up(n_tokens)
    shared = Windows(tokens.ids, context_length)
    mixed = [drawn(shared.draw(seed, i, 1)).tolist() for i in range(4) for seed in (one, other)]
    alone = [
        drawn(Windows(tokens.ids, context_length).draw(seed, i, 1)).tolist() for i in range(4) for seed in (one, other)
    ]
    assert mixed == alone


class DrawsMeanwhile(Windows):
    """Windows from which another thread draws, just after an order was kept for the next draw."""

    meanwhile: Callable[[], object] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_epoch" and value and self.meanwhile:
            draw, self.meanwhile = self.meanwhile, None
            with ThreadPoolExecutor(1) as thread:
                thread.submit(draw).result()


def test_a_draw_from_another_epoch_meanwhile_changes_nothing() -> None:
    # The trainer draws ahead in a thread, which may still be at work when a loaded state asks for another epoch.
    windows, alone = (DrawsMeanwhile(count_up(300).ids, 4) for _ in range(2))
    n = windows.per_epoch
    windows.meanwhile = lambda: windows.draw(0, n, n)
    assert drawn(windows.draw(0, 0, n)).tolist() == drawn(alone.draw(0, 0, n)).tolist()
    assert windows.meanwhile is None


def documents(lengths: list[int], context_length: int) -> Documents:
    """Documents of these lengths, the end token 0 included; the other ids count up over all of them."""
    ids, ends = np.arange(1, sum(lengths) + 1), np.cumsum(lengths) - 1
    ids[ends] = 0
    return Documents(ids, ends, context_length)


@given(st.lists(st.integers(2, 12), min_size=2, max_size=8), st.integers(1, 9), seeds, st.integers(0, 3))
def test_an_epoch_of_documents_predicts_every_token_once_from_the_start_of_its_document(
    lengths: list[int], context_length: int, seed: int, epoch: int
) -> None:
    assume(sum(lengths) > context_length)
    rows = documents(lengths, context_length)
    circle = np.tile(rows._ids, 3)
    starts: list[int] = []
    targets: list[int] = []
    for row in drawn(rows.draw(seed, epoch * rows.per_epoch, rows.per_epoch)):
        start = (int(row[1]) if row[1] else int(row[0]) + 1) - 2  # where the first input stands; -1 for the last token
        assert (row == circle[len(rows._ids) + start :][: len(row)]).all()
        end = next(end for end in np.cumsum(lengths) - 1 if end > start)
        starts.append(start)
        targets += range(start + 1, min(start + context_length, end) + 1)  # those within the row's own document
    assert sorted(targets) == list(range(len(rows._ids)))
    assert {-1, *(np.cumsum(lengths)[:-1] - 1).tolist()} <= set(starts)


def test_documents_are_read_in_a_circle_and_a_long_one_goes_on_in_a_row_of_its_own() -> None:
    rows = documents([3, 6, 2], 4)  # 1 2 0, 4 5 6 7 8 0, 10 0
    assert drawn(rows.spread(9)).tolist() == [[0, 1, 2, 0, 4], [0, 4, 5, 6, 7], [7, 8, 0, 10, 0], [0, 10, 0, 1, 2]]
    assert drawn(rows.spread(2)).tolist() == [[0, 1, 2, 0, 4], [7, 8, 0, 10, 0]]
    epochs = [drawn(rows.draw(seed, 4 * epoch, 4)).tolist() for seed in (1, 2) for epoch in range(3)]
    assert all(sorted(epoch) == sorted(drawn(rows.spread(4)).tolist()) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 3


def test_the_parameter_chooses_where_rows_begin(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, [[1, 2], [3, 4, 5]], vocab_size=6)
    of_documents, of_windows = (open_source(tokens, 3, train_config(rows=rows)) for rows in ("documents", "windows"))
    assert drawn(of_documents.spread(9)).tolist() == [[0, 1, 2, 0], [0, 3, 4, 5], [5, 0, 1, 2]]
    assert drawn(of_windows.spread(9)).tolist() == [[1, 2, 0, 3], [3, 4, 5, 0]]
