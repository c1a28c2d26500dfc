"""Tests of lm/generation/context.py."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from lm.generation.context import Turns, ids_in_context, start_of_context

IDS = list(range(100))


def test_a_text_loses_its_older_half_each_time_that_one_more_token_would_not_fit() -> None:
    assert [start_of_context(n, 8) for n in (0, 8, 9, 12, 13, 16, 17)] == [0, 0, 5, 5, 5, 10, 10]
    assert ids_in_context(IDS[:13], 8) == IDS[5:13]


def test_a_conversation_loses_its_oldest_turns_until_a_sixteenth_is_free() -> None:
    turns = Turns(n_stay=2, starts=(2, 4, 20))
    assert ids_in_context(IDS[:32], 32, turns) == IDS[:32]
    # Without the first turn, of two tokens, 31 would be left, and 30 are wanted.
    assert ids_in_context(IDS[:33], 32, turns) == [0, 1, *IDS[20:33]]
    assert ids_in_context(IDS[:50], 32, turns) == [0, 1, *IDS[20:50]]
    # Now only the last turn is left, so it loses its older half as any text does.
    assert ids_in_context(IDS[:51], 32, turns) == [0, 1, *IDS[20:51]][17:]


@given(st.integers(40, 60), st.integers(1, 6), st.lists(st.integers(2, 7), min_size=1, max_size=4))
def test_what_stays_fits_ends_with_the_newest_token_and_never_grows_backwards(
    context_length: int, n_stay: int, lengths: list[int]
) -> None:
    *starts, n_prompt = accumulate([n_stay, *lengths])
    turns, first = Turns(n_stay, tuple(starts)), 0
    for n in range(n_prompt, 200):
        kept = ids_in_context(list(range(n)), context_length, turns)
        whole = max(place for place, id in enumerate(kept) if place == 0 or id != kept[place - 1] + 1)
        assert kept[whole:] == list(range(kept[whole], n))
        assert kept[:whole] == list(range(whole))
        assert len(kept) <= context_length
        assert kept[whole] >= first
        first = kept[whole]
    assert first > n_prompt
