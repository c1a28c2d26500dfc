"""Tests of lm/generation/batch.py."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.generation.batch import Batch, Text, random_stream
from lm.generation.constraints import Constraints, Rules
from lm.generation.events import End, Event, Token
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY, Sampling
from lm.model.reader import Reader
from lm.tokenizer.learning import bytes_alone
from tests.small import numpy_twin, random_model, tokenizer_config

TOKENIZER = bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
MODEL = random_model(TOKENIZER.vocab_size)
READER = Reader(MODEL, "fp32")
RULES = {
    "none": None,
    "stop": Rules(Constraints(stop=("e", "ab")), TOKENIZER, max_new_tokens=30),
    "forbid": Rules(Constraints(forbid=("e", "th")), TOKENIZER, max_new_tokens=30),
}
SAMPLINGS = [
    GREEDY,
    Sampling(temperature=0.8, top_p=0.9),
    Sampling(top_k=5),
    Sampling(frequency_penalty=1.5, no_repeat_ngram=2),
    Sampling(min_p=0.01, repetition_penalty=1.3),
]


class Plan(NamedTuple):
    """A text, when it joins, and how many tokens later it is taken away."""

    prompt: list[int]
    sampling: Sampling
    rules: str
    logprobs: int | None
    max_new_tokens: int
    joins: int
    leaves_after: int | None


plans = st.builds(
    Plan,
    st.lists(st.integers(0, 255), min_size=1, max_size=12) | st.just([7, 7, 7]),
    st.sampled_from(SAMPLINGS),
    st.sampled_from(sorted(RULES)),
    st.sampled_from([None, 0, 3]),
    st.integers(1, 20),
    st.integers(0, 12),
    st.none() | st.integers(1, 8),
)


def alone(plan: Plan, row: int) -> list[Event]:
    """What `generate` says of the text."""
    events = generate(
        READER,
        [plan.prompt],
        plan.sampling,
        max_new_tokens=plan.max_new_tokens,
        end_id=TOKENIZER.end_id,
        seed=row,
        rules=RULES[plan.rules],
        logprobs=plan.logprobs,
    )
    return [event._replace(row=row) for event in events]


def text(plan: Plan, row: int) -> Text:
    rules = RULES[plan.rules]
    return Text(
        row,
        list(plan.prompt),
        len(plan.prompt),
        plan.max_new_tokens,
        TOKENIZER.end_id,
        random_stream(row, 0),
        plan.sampling,
        rules,
        rules.start(plan.prompt) if rules else None,
        logprobs=plan.logprobs,
    )


@settings(max_examples=15)
@given(st.lists(plans, min_size=1, max_size=6))
def test_a_text_is_the_same_whatever_joins_and_leaves_beside_it(given: list[Plan]) -> None:
    batch, events = Batch(READER), dict[int, list[Event]]({row: [] for row in range(len(given))})
    for time in range(100):
        batch.join([text(plan, row) for row, plan in enumerate(given) if plan.joins == time])
        batch.leave({row for row, plan in enumerate(given) if plan.joins + (plan.leaves_after or 100) == time})
        if batch.texts:
            for event in batch.step():
                events[event.row].append(event)
    assert batch.texts == []
    for row, plan in enumerate(given):
        whole = alone(plan, row)
        cut = [event for event in whole if isinstance(event, Token)][: plan.leaves_after]
        left = plan.leaves_after and len(cut) == plan.leaves_after and len(events[row]) == plan.leaves_after
        assert events[row] == (cut if left else whole)


@pytest.mark.parametrize("model", [MODEL, numpy_twin(MODEL)], ids=["torch", "numpy"])
def test_texts_that_join_later_are_read_and_none_is_disturbed(model: Any) -> None:
    """Greedy texts of both libraries, across contexts that are full."""
    batch, written = Batch(model), dict[int, list[int]]({row: [] for row in range(5)})
    prompts = [[3], [9, 200, 4, 4, 4, 4, 4, 4, 4, 4, 4], [3], [100, 101], [3]]
    for time in range(60):
        if time % 5 == 0 and time < 25:
            batch.join([text(Plan(prompts[time // 5], GREEDY, "none", None, 20, 0, None), time // 5)])
        if batch.texts:
            for event in batch.step():
                if isinstance(event, Token):
                    written[event.row].append(event.id)
                else:
                    assert isinstance(event, End)
    assert written[0] == written[2] == written[4]
    for row, prompt in enumerate(prompts):
        events = generate(model, [prompt], GREEDY, max_new_tokens=20, end_id=TOKENIZER.end_id, seed=0)
        assert written[row] == [event.id for event in events if isinstance(event, Token)]
