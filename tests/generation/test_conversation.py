"""Tests of lm/generation/conversation.py."""

import math
import re
from functools import cache
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.config.special_tokens import CHAT_TOKENS, END_OF_TEXT, END_OF_TURN
from lm.corpus.dialogue import Message
from lm.generation.conversation import answer_text, end_of_turn, fitted_prompt, never_said, reply
from lm.generation.events import End, Token
from lm.generation.sampling import GREEDY, Sampling
from lm.tokenizer.chat import prompt_ids
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.tokenizer import Tokenizer
from tests.small import DOCUMENTS, numpy_twin, random_model, tokenizer_config

SYSTEM = Message("system", "be good")


@cache
def bpe() -> Tokenizer:
    return learn_bpe(count_texts(DOCUMENTS), tokenizer_config(special_tokens=list(CHAT_TOKENS)))


def talk(n_words: list[int]) -> list[Message]:
    """Messages of so many words, an odd number of them: the user has the first word and the last."""
    said = [" the" * n for n in n_words]
    return [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(said)]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=13).filter(lambda n: len(n) % 2 == 1), st.booleans())
def test_the_newest_turns_stay_and_as_many_as_fit(n_words: list[int], with_system: bool) -> None:
    said, system = talk(n_words), [SYSTEM] if with_system else []
    prompt = fitted_prompt(bpe(), [*system, *said], 48)
    assert prompt.ids == prompt_ids(bpe(), [*system, *said[prompt.n_dropped :]])
    assert len(prompt.ids) <= 45
    assert prompt.n_dropped % 2 == 0
    if prompt.n_dropped:
        assert len(prompt_ids(bpe(), [*system, *said[prompt.n_dropped - 2 :]])) > 45


def test_a_message_that_does_not_fit_is_one_line() -> None:
    rule = (
        r"^message: must have at most 43 tokens, so that it fits into the context of 48 with 3 for an answer, got 46$"
    )
    with pytest.raises(ValueError, match=rule):
        fitted_prompt(bpe(), talk([3, 3, 44]), 48)
    assert fitted_prompt(bpe(), talk([3, 3, 32]), 48).n_dropped == 2


def test_a_system_message_leaves_room_for_a_message() -> None:
    longer_and_longer = ([Message("system", " the" * n), *talk([1])] for n in count(20))
    with pytest.raises(ValueError, match=r"^system message: ") as caught:
        all(fitted_prompt(bpe(), messages, 48).ids for messages in longer_and_longer)
    most, context, got = map(int, re.findall(r"\d+", str(caught.value)))
    assert (got, context) == (most + 1, 48)  # so the longest system message that may stand there did fit


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_an_answer_ends_with_the_turn_and_holds_no_special_token(backend: str) -> None:
    tokenizer = bpe()
    model = random_model(tokenizer.vocab_size, context_length=32)
    speaker = model if backend == "torch" else numpy_twin(model)
    prompts = [fitted_prompt(tokenizer, talk([3]), 32)] * 40
    events = list(reply(speaker, tokenizer, prompts, Sampling(1.5), max_new_tokens=60, seed=1))
    drawn = [event.id for event in events if isinstance(event, Token)]
    special = set(tokenizer.special_tokens.values())
    assert not special & set(drawn)
    assert {event.reason for event in events if isinstance(event, End)} == {"model", "length"}
    assert end_of_turn(tokenizer) == tokenizer.special_tokens[END_OF_TURN]
    assert tokenizer.end_id == tokenizer.special_tokens[END_OF_TEXT]


def test_a_long_answer_drops_the_oldest_turns_and_keeps_its_question() -> None:
    tokenizer, context_length = bpe(), 48
    model = random_model(tokenizer.vocab_size, context_length=context_length)
    said = [SYSTEM, *talk([6, 6, 4, 4, 4])]
    prompt = fitted_prompt(tokenizer, said, context_length)
    assert prompt.n_dropped == 0
    events = reply(model, tokenizer, [prompt], GREEDY, max_new_tokens=20, seed=1)
    drawn = [event.id for event in events if isinstance(event, Token)]
    assert len(prompt.ids) + len(drawn) > context_length

    def next_token(n_dropped: int, n_said: int) -> int:
        """The likeliest token after the turns that are left, and so much of the answer."""
        ids = [*prompt_ids(tokenizer, [SYSTEM, *said[1 + n_dropped :]]), *drawn[:n_said]]
        assert len(ids) <= context_length
        logits = model.session(1).read(np.array([ids]), last=1)[0, -1]
        logits[never_said(tokenizer)] = -math.inf
        return int(logits.argmax())

    n_fit = context_length - len(prompt.ids)
    for n_said in range(len(drawn)):
        assert drawn[n_said] == next_token(0 if n_said <= n_fit else 2, n_said)


def test_the_text_of_an_answer_comes_in_whole_characters() -> None:
    tokenizer = bpe()
    ids = tokenizer.encode("“Hi”")
    pieces = list(answer_text(tokenizer, [*(Token(0, id) for id in ids), End(0, "model")]))
    assert "".join(pieces) == "“Hi”"
    assert "�" not in "".join(answer_text(tokenizer, [*(Token(0, id) for id in ids[:-1]), End(0, "length")]))
    model = random_model(tokenizer.vocab_size, context_length=32)
    prompt = fitted_prompt(tokenizer, talk([3]), 32)
    assert list(reply(model, tokenizer, [prompt], GREEDY, max_new_tokens=0, seed=1)) == [End(0, "length")]
