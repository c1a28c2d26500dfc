"""Tests of lm/generation/phrases.py and constraints.py: phrases in texts, whatever tokens spell them."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lm.generation.constraints import Constraints, Rules
from lm.generation.phrases import Automaton, UpToStop, Vocabulary, anywhere, as_word, border, stop_at
from lm.tokenizer.learning import bytes_alone
from tests.small import tokenizer_config

BYTES = bytes_alone(tokenizer_config(kind="byte"))
# Few letters, so that phrases overlap; a letter and a sign of two and three bytes.
letters = st.text("ab é“", max_size=12)
phrases = st.lists(st.text("ab é“", min_size=1, max_size=4), max_size=3)


def found(automaton: Automaton, state: int, text: bytes) -> list[bool]:
    return automaton.found[automaton.walk(state, text)[1:]].tolist() if text else []


@given(phrases, letters)
@example(["aba", "b"], "ab")
def test_a_phrase_is_found_at_every_place_where_it_ends(phrases: list[str], text: str) -> None:
    encoded = text.encode()
    ends = [any(encoded[: i + 1].endswith(phrase.encode()) for phrase in phrases) for i in range(len(encoded))]
    assert found(anywhere([phrase.encode() for phrase in phrases]), 0, encoded) == ends


@settings(max_examples=200)
@given(st.text("ab é“_", min_size=1, max_size=4), letters, letters)
@example("aa", "", "aaa aa")
@example("a“", "é", "a“a")
@example("é", "", "aé é")
@example("a", "", "éa")
def test_a_word_is_found_where_no_letter_touches_it(phrase: str, prompt: str, text: str) -> None:
    before = r"(?<!\w)" if re.match(r"\w", phrase) else ""
    after = r"(?!\w)" if re.search(r"\w$", phrase) else ""
    # The text ends after each character; a phrase that would begin in the prompt does not count.
    pattern = re.compile(before + re.escape(phrase) + after)
    whole = prompt + text
    automaton = as_word(phrase.encode())
    for end in range(len(text) + 1):
        state = automaton.walk(border(prompt.encode()), text[:end].encode())[-1]
        expected = pattern.search(whole[: len(prompt) + end], len(prompt)) is not None
        assert bool(automaton.found[state]) == expected


@given(phrases, st.lists(st.text("ab é", max_size=3).map(str.encode), max_size=8), letters)
def test_the_whole_vocabulary_is_walked_through_at_once(phrases: list[str], tokens: list[bytes], text: str) -> None:
    automaton = anywhere([phrase.encode() for phrase in phrases])
    state = automaton.walk(0, text.encode())[-1]
    assert Vocabulary(tokens).finding(automaton, state).tolist() == [
        any(found(automaton, state, token)) for token in tokens
    ]


@given(letters, phrases)
@example("abb", ["abb", "b"])
def test_a_text_stops_before_the_stop_string_that_is_complete_first_and_shows_nothing_that_may_be_one(
    text: str, stops: list[str]
) -> None:
    first = next((end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)), None)
    expected = text
    if first is not None:
        longest = max((stop for stop in stops if text[:first].endswith(stop)), key=len)
        expected = text[: first - len(longest)]
    assert text[: stop_at(text, stops)] == expected
    stream, shown = UpToStop(stops), ""
    for i, character in enumerate(text):
        shown += stream.add(character, is_last=i == len(text) - 1)
        assert expected.startswith(shown)
    assert shown == expected


@settings(max_examples=60)
@given(phrases, st.text("ab ", max_size=5), st.text("ab ", max_size=8))
def test_no_token_that_would_complete_what_is_forbidden_may_follow(forbid: list[str], prompt: str, text: str) -> None:
    rules = Rules(Constraints(forbid=tuple(forbid)), BYTES, max_new_tokens=9)
    state = rules.start([BYTES.end_id, *BYTES.encode(prompt)])
    for i, id in enumerate(BYTES.encode(text)):
        bar = rules.barred(state)
        for letter, next_id in zip("ab ", BYTES.encode("ab "), strict=True):
            completes = any((prompt + text[:i] + letter).endswith(phrase) for phrase in forbid)
            assert bool(bar is not None and bar[next_id]) == completes
        assert bar is None or not bar[BYTES.end_id]
        state = rules.after(state, id)


@settings(max_examples=60)
@given(phrases, st.text("ab ", max_size=5), st.text("ab ", max_size=8))
def test_a_text_is_stopped_as_soon_as_it_holds_a_stop_string(stop: list[str], prompt: str, text: str) -> None:
    rules = Rules(Constraints(stop=tuple(stop)), BYTES, max_new_tokens=9)
    state = rules.start(BYTES.encode(prompt))
    assert rules.barred(state) is None
    for i, id in enumerate(BYTES.encode(text)):
        state = rules.after(state, id)
        assert state.stopped == any(text[: i + 1].endswith(phrase) for phrase in stop)


def test_what_is_required_bars_the_end_until_the_text_holds_it() -> None:
    rules = Rules(Constraints(require=("ab", "b")), BYTES, max_new_tokens=9)
    assert rules.n_required == 5  # " ab" and " b"
    state = rules.start([BYTES.end_id, *BYTES.encode("b ")])
    for character, progress, ended in zip("a ab b", [2, 1, 2, 3, 4, 5], [False] * 5 + [True], strict=True):
        state = rules.after(state, BYTES.encode(character)[0])
        assert rules.progress(state) == progress, character
        assert rules.met(state) == ended
        bar = rules.barred(state)
        assert (bar is None) == ended
        assert bar is None or bar.nonzero()[0].tolist() == [BYTES.end_id]
    # A letter that follows makes it another word.
    assert rules.progress(rules.after(state, BYTES.encode("b")[0])) == 3


def test_the_ids_that_lead_to_what_is_required_do_so_one_by_one() -> None:
    rules = Rules(Constraints(require=("ab", "ba a")), BYTES, max_new_tokens=9)
    state, text = rules.start(BYTES.encode("b")), b""
    generator = np.random.Generator(np.random.Philox(key=0))
    for n in range(rules.n_required):
        assert rules.progress(state) == n
        ids = sorted(id for id in rules.advances(state) if rules.progress(rules.after(state, id)) > n)
        id = ids[generator.integers(len(ids))]
        state, text = rules.after(state, id), text + BYTES.token_bytes(id)
    assert rules.met(state)
    assert text in (b" ab ba a", b" ba a ab")


def test_a_phrase_that_another_one_holds_takes_no_tokens_of_its_own() -> None:
    for require, n_tokens in ((("a hen", "hen", "hen"), 6), (("hens", "hen"), 9), (("hen", "then"), 9)):
        assert Rules(Constraints(require=require), BYTES, max_new_tokens=9).n_required == n_tokens


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (
            Constraints(require=("abc",)),
            "sample.max_new_tokens: must be 4 or more, because so many tokens spell what sample.require holds, got 3",
        ),
        (
            Constraints(require=("b", "a"), forbid=("x", " a")),
            "sample.require.1: must hold nothing of sample.forbid, got 'a'",
        ),
        (Constraints(require=("a",), stop=("a",)), "sample.require.0: must hold nothing of sample.stop, got 'a'"),
    ],
)
def test_what_no_text_can_fulfil_is_one_line(constraints: Constraints, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Rules(constraints, BYTES, max_new_tokens=3)


def test_what_is_shown_must_hold_what_is_required() -> None:
    rules = Rules(Constraints(require=("a",), stop=("b a.",)), BYTES, max_new_tokens=9)
    assert rules.fulfilled([], BYTES.encode("a b a."))
    assert not rules.fulfilled([], BYTES.encode("b a."))
    assert not rules.fulfilled(BYTES.encode("b"), BYTES.encode("a b a."))
