"""Tests of lm/tokenizer/table.py."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.tokenizer.table import KeyTable, grown

Key = tuple[int, ...]

# Numbers near 0, which is also what empty rows hold, near the largest one, and such that keys share one half.
columns = st.integers(0, 12) | st.sampled_from([2**32, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
batches = st.lists(st.lists(st.tuples(columns), max_size=30), max_size=6) | st.lists(
    st.lists(st.tuples(columns, columns), max_size=30), max_size=6
)


def arrays(keys: list[Key], n_columns: int) -> list[NDArray[np.uint64]]:
    return [np.array([key[i] for key in keys], dtype=np.uint64) for i in range(n_columns)]


def check_against_a_dictionary(batches: list[list[Key]], n_columns: int) -> KeyTable:
    """Look up each batch, add what is new, and look up everything again."""
    table, numbers = KeyTable(n_columns), dict[Key, int]()
    for batch in batches:
        assert table.find(*arrays(batch, n_columns)).tolist() == [numbers.get(key, 0) for key in batch]
        new = [key for key in dict.fromkeys(batch) if key not in numbers]
        numbers |= {key: len(numbers) + 1 + i for i, key in enumerate(new)}
        assert table.add(*arrays(new, n_columns)).tolist() == [numbers[key] for key in new]
        asked = [key for batch in batches for key in batch]  # some of them later ones, which are not there yet
        assert table.find(*arrays(asked, n_columns)).tolist() == [numbers.get(key, 0) for key in asked]
    assert len(table) == len(numbers)
    for i in range(n_columns):
        assert table.column(i).tolist() == [key[i] for key in numbers]
        assert table.column(i, 3).tolist() == [key[i] for key in numbers][2:]
    return table


@given(batches, st.booleans())
@example([[(0,)], [(0,), (1,)]], False)
@example([[(0, 0)], [(0, 1), (1, 0), (0, 0)]], True)
def test_it_is_a_dictionary_even_if_all_keys_want_one_slot(batches: list[list[Key]], collide: bool) -> None:
    n_columns = max([len(key) for batch in batches for key in batch], default=1)
    with pytest.MonkeyPatch.context() as patch:
        if collide:
            patch.setattr("lm.tokenizer.table._MULTIPLIERS", np.zeros(2, dtype=np.uint64))
        table = check_against_a_dictionary(batches, n_columns)
        if collide and len(table):
            assert set(table._slots(tuple(table.column(i) for i in range(n_columns))).tolist()) == {0}


def slots(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Where a new table looks for keys first."""
    return KeyTable(1)._slots((keys,))


def test_keys_that_want_the_slots_at_the_end_of_the_table_go_on_at_its_beginning() -> None:
    keys = np.arange(100_000, dtype=np.uint64)
    at_end = keys[slots(keys) == 1023][:40]
    at_beginning = keys[slots(keys) == 0][:40]
    assert len(at_end) == len(at_beginning) == 40
    mixed: list[Key] = [(int(key),) for pair in zip(at_end, at_beginning, strict=True) for key in pair]
    check_against_a_dictionary([mixed[:30], mixed[:1], mixed], 1)


def test_keys_that_are_not_there_are_not_found_among_those_that_want_their_slot() -> None:
    keys = np.arange(100_000, dtype=np.uint64)
    one_slot = keys[slots(keys) == slots(keys[:1])]
    table = KeyTable(1)
    table.add(one_slot[:20])
    assert len(one_slot) > 40
    assert table.find(one_slot).tolist() == [*range(1, 21), *[0] * (len(one_slot) - 20)]


@pytest.mark.parametrize("n_added", [1, 255, 256, 257, 1_000, 5_000])
def test_it_grows_and_keeps_all_numbers(n_added: int) -> None:
    generator = np.random.Generator(np.random.Philox(key=1))
    keys = generator.choice(2**62, size=(5_000, 2), replace=False).astype(np.uint64)
    table = KeyTable(2)
    for start in range(0, len(keys), n_added):
        added = keys[start : start + n_added]
        assert not table.find(added[:, 0], added[:, 1]).any()
        assert table.add(added[:, 0], added[:, 1]).tolist() == list(range(start + 1, start + len(added) + 1))
    assert table.find(keys[:, 0], keys[:, 1]).tolist() == list(range(1, 5_001))
    assert not table.find(keys[:, 1], keys[:, 0]).any()
    assert 2 * len(table) <= len(table._table), "in a table nearly full, each search is a long one"


def test_an_array_that_has_room_is_the_same_one_and_another_has_twice_the_room() -> None:
    array = np.arange(5)
    assert grown(array, 5) is array
    larger = grown(array, 6)
    assert larger.tolist() == [0, 1, 2, 3, 4, *[0] * 7]
    assert larger.dtype == array.dtype
