"""Kinds of tokens: which is the first of a word, which a name, which a name that was said before."""

import pytest

from lm.analysis.token_kinds import END, FIRST, INSIDE, KNOWN_NAME, NEW_NAME, PUNCTUATION, kinds_of


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["On", "ce", " upon", ","], [FIRST, INSIDE, FIRST, PUNCTUATION]),
        (["The", " girl", " L", "ily"], [FIRST, FIRST, NEW_NAME, INSIDE]),
        ([" saw", " L", "ily", " and", " L", "ily"], [FIRST, NEW_NAME, INSIDE, FIRST, KNOWN_NAME, INSIDE]),
        ([" sat", ".", " The", " end"], [FIRST, PUNCTUATION, FIRST, FIRST]),  # a sentence begins
        ([" sat", "\n", "The", " I"], [FIRST, None, FIRST, FIRST]),
        ([" said", ' "', "Tom", "Éa"], [FIRST, PUNCTUATION, FIRST, INSIDE]),
        ([" a", " Tom", None, " a", " Tom"], [FIRST, NEW_NAME, END, FIRST, NEW_NAME]),  # another document
        ([" \ufffd", "\ufffd", "e", "\u0301"], [FIRST, INSIDE, INSIDE, INSIDE]),  # parts of characters
        ([" ", ""], [None, None]),
    ],
)
def test_each_token_has_its_kind(texts: list[str | None], expected: list[str | None]) -> None:
    assert kinds_of(texts) == expected
