"""Tests of commands/chat/wrapping.py."""

import textwrap

from hypothesis import given
from hypothesis import strategies as st

from commands.chat.wrapping import Wrapping


def wrapped(pieces: list[str], width: int) -> str:
    wrapping = Wrapping(width)
    return "".join(map(wrapping.add, pieces)) + wrapping.rest()


@given(
    st.lists(st.text("ab,-", min_size=1, max_size=12), min_size=1, max_size=20),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_lines_break_where_the_standard_library_breaks_them(words: list[str], width: int, size: int) -> None:
    text = " ".join(words)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert wrapped(pieces, width) == textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def test_paragraphs_stay_and_a_word_is_shown_when_it_is_whole() -> None:
    assert wrapped(["  One\n\n", "two  three\n"], 6) == "  One\n\ntwo\nthree\n"
    wrapping = Wrapping(80)
    assert [wrapping.add(piece) for piece in ("The", " fo", "x", " ran.")] == ["", "The", "", " fox"]
    assert wrapping.rest() == " ran."


def test_text_without_spaces_does_not_wait_for_its_end() -> None:
    wrapping = Wrapping(80)
    assert wrapping.add("你" * 14) == ""
    assert wrapping.add("你") == "你" * 15  # two columns each
