"""The views of a chat model."""

from typing import Any

import numpy as np
import pytest

from lm.analysis.chat_views import chat_views, looks_at
from lm.analysis.views import Attention, Bars, Grid, Table
from lm.tokenizer.chat import message_ids
from tests.analysis.test_chat import TALK, bpe
from tests.small import random_model


def figures(**changes: Any) -> dict[str, Any]:
    names = ("right_answers", "words_used", "stories_in_the_grammar", "ends_itself")
    return {name: None for each in names for name in (each, f"{each}_standard_error")} | {"right_by_kind": {}} | changes


CHAT = figures(
    right_answers=0.5,
    right_answers_standard_error=0.1,
    ends_itself=1.0,
    right_by_kind={"who": {"right": 0.25, "right_standard_error": None}},
)


def test_the_views_say_how_long_turns_are_and_where_the_answer_looks() -> None:
    model = random_model(bpe().vocab_size, context_length=128).eval()
    topic = chat_views(model, bpe(), [TALK], {"chat": CHAT, "base": figures(right_answers=0.0)})
    turns, shares, kinds, looks, attention = topic.views
    assert isinstance(turns, Table)
    assert [row[:2] for row in turns.rows] == [("assistant", 2), ("user", 2)]
    assert isinstance(shares, Bars)
    assert list(zip(shares.labels, shares.values, strict=True)) == [
        ("right answers, chat model", 0.5),
        ("right answers, base model", 0.0),
        ("turns that the model ends itself, chat model", 1.0),
    ]
    assert isinstance(kinds, Bars)
    assert (kinds.labels, kinds.values, kinds.errors) == (("who",), (0.25,), (None,))
    assert isinstance(looks, Grid)
    assert looks.columns == ("start", "message 1", "message 2", "message 3", "message 4")
    assert np.array(looks.values, float).sum(1) == pytest.approx(1, abs=0.001)  # numbers have four digits
    assert isinstance(attention, Attention)
    assert len(attention.tokens) == 1 + sum(map(len, message_ids(bpe(), TALK.messages)))


def test_where_no_dialogue_fits_there_is_a_note_and_where_nothing_is_known_no_bars_by_kind() -> None:
    model = random_model(bpe().vocab_size, context_length=16).eval()
    topic = chat_views(model, bpe(), [TALK], {"chat": figures(), "base": None})
    assert [view.kind for view in topic.views] == ["table", "bars"]
    assert "fits into the context" in topic.notes[0]


def test_the_share_of_attention_is_a_mean_over_the_tokens_that_look() -> None:
    weights = np.array([[[[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]]])
    queries, keys = np.array([False, True, True]), np.array([False, True, False])
    assert looks_at(weights, queries, keys) == pytest.approx(np.array([[0.4]]))
