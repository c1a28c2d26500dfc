"""Whole texts under rules: stop strings, what is forbidden, penalties, and what a text reports of its tokens."""

import math
from itertools import pairwise

import numpy as np
import pytest

from lm.config.sample import SampleConfig
from lm.generation.constraints import Constraints, Rules
from lm.generation.events import End, Token, collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY, Sampling
from lm.generation.session import LanguageModel
from lm.generation.texts import continuation, continuations, continue_prompts
from lm.tokenizer.learning import bytes_alone
from lm.tokenizer.load import parse_tokenizer
from tests.generation.test_generate import END_ID, PROMPTS, VOCAB_SIZE, never_ending, texts_of
from tests.small import WORDS, numpy_twin, random_model, tokenizer_config, words

BYTES = bytes_alone(tokenizer_config(kind="byte"))
WRITER = random_model(BYTES.vocab_size, context_length=16)
MODELS: dict[str, LanguageModel] = {"torch": WRITER, "numpy": numpy_twin(WRITER)}
each_library = pytest.mark.parametrize("library", MODELS)


def config(**changes: object) -> SampleConfig:
    values = {"prompts": ["a", "", "b c"], "max_new_tokens": 25, "temperature": 1.0, "top_k": None, "top_p": None}
    return SampleConfig.parse(values | {"device": "cpu"} | changes)


def written(library: str, config: SampleConfig) -> tuple[list[str], list[str]]:
    """What is shown of each text, and why it ended."""
    events = list(continue_prompts(MODELS[library], BYTES, config, end_id=BYTES.end_id, seed=3))
    reasons = {event.row: event.reason for event in events if isinstance(event, End)}
    return continuations(BYTES, config.prompts, events, config.stop), [reasons[row] for row in sorted(reasons)]


@each_library
def test_no_text_holds_what_is_forbidden_and_the_rest_is_drawn_as_before(library: str) -> None:
    plain, _ = written(library, config())
    letters = sorted(set("".join(plain)) & set(map(chr, range(33, 127))))[:8]
    assert len(letters) == 8
    texts, _ = written(library, config(forbid=letters))
    assert not set("".join(texts)) & set(letters)
    assert texts != plain
    assert written(library, config(forbid=["a long phrase that does not occur"]))[0] == plain


@each_library
def test_a_text_stops_before_its_stop_string_also_where_it_is_streamed(library: str) -> None:
    plain, _ = written(library, config())
    place = next(i for i in range(1, len(plain[0]) - 1) if plain[0][i : i + 2].isascii())
    stop = plain[0][place : place + 2]
    texts, reasons = written(library, config(stop=["not there", stop]))
    assert texts == [text.split(stop)[0] for text in plain]
    assert reasons[0] == "stop"
    events = continue_prompts(MODELS[library], BYTES, config(prompts=["a"], stop=[stop]), end_id=BYTES.end_id, seed=3)
    assert "".join(continuation(BYTES, "a", events, [stop])) == texts[0]


def test_a_text_that_no_token_may_continue_ends() -> None:
    events = list(
        generate(never_ending(), PROMPTS, Sampling(no_repeat_ngram=1), max_new_tokens=40, end_id=END_ID, seed=0)
    )
    for prompt, ids in zip(PROMPTS, collect(events, len(PROMPTS)), strict=True):
        assert sorted({*prompt, *ids}) == list(range(VOCAB_SIZE))
        assert len(ids) == len(set(ids))
    assert {event for event in events if isinstance(event, End)} == {End(row, "stuck") for row in range(len(PROMPTS))}


def test_where_every_word_is_forbidden_the_texts_are_empty() -> None:
    tokenizer = parse_tokenizer(words().to_str())
    model = random_model(tokenizer.vocab_size)
    for forbid, allowed in (([*WORDS[3:-2], "<"], {"a", "and", "sang"}), ([*WORDS[2:], "<"], set())):
        every = config(prompts=["a fox"] * 8, temperature=50, forbid=forbid)
        events = list(continue_prompts(model, tokenizer, every, end_id=tokenizer.end_id, seed=0))
        texts = {WORDS[id] for ids in collect(events, 8) for id in ids}
        assert texts <= allowed
        assert bool(texts) == bool(allowed)
    assert events == [End(row, "model") for row in range(8)]


@pytest.mark.parametrize("penalty", ["repetition_penalty", "frequency_penalty", "presence_penalty", "no_repeat_ngram"])
def test_penalties_reach_the_choice_and_both_libraries_write_the_same(penalty: str) -> None:
    model, prompts = never_ending(), PROMPTS[2:4]
    sampling = Sampling(temperature=0, **{penalty: 2})
    texts = texts_of(model, prompts, sampling, 20)
    assert texts != texts_of(model, prompts, GREEDY, 20)
    assert texts == texts_of(numpy_twin(model), prompts, sampling, 20)
    assert texts[1:] == texts_of(model, prompts[1:], sampling, 20)
    if penalty == "no_repeat_ngram":
        for prompt, text in zip(prompts, texts, strict=True):
            pairs = list(pairwise(prompt + text))[len(prompt) - 1 :]
            assert len(pairs) == len(set(pairs))


@each_library
def test_a_token_reports_the_probability_that_the_model_gives_it(library: str) -> None:
    model = never_ending()
    reading = model if library == "torch" else numpy_twin(model)
    sampling = Sampling(temperature=0.5, top_k=4, repetition_penalty=3)
    events = list(generate(reading, [[0, 5], [7]], sampling, max_new_tokens=6, end_id=END_ID, seed=0, logprobs=3))
    plain = generate(reading, [[0, 5], [7]], sampling, max_new_tokens=6, end_id=END_ID, seed=0)
    assert collect(events, 2) == collect(plain, 2)
    twin = numpy_twin(model)
    texts = {0: [0, 5], 1: [7]}
    for event in events:
        if isinstance(event, Token):
            logits = twin.forward(np.array([texts[event.row]]))[0, -1].astype(np.float64)
            logprobs = logits - np.log(np.exp(logits).sum())
            texts[event.row].append(event.id)
            assert event.logprob == pytest.approx(logprobs[event.id], abs=1e-4)  # logits of size 10 in float32
            best = np.argsort(-logprobs)[:3]
            assert [id for id, _ in event.alternatives] == best.tolist()
            assert [x for _, x in event.alternatives] == pytest.approx(logprobs[best].tolist(), abs=1e-4)
    assert math.fsum(math.exp(x) for _, x in event.alternatives) < 1 if isinstance(event, Token) else True


def test_no_token_is_written_where_none_is_asked_for() -> None:
    events = list(generate(never_ending(), PROMPTS, GREEDY, max_new_tokens=0, end_id=END_ID, seed=0))
    assert events == [End(row, "length") for row in range(len(PROMPTS))]


def test_draws_follow_the_distribution_that_rules_and_penalties_leave() -> None:
    n, model, tokenizer = 4000, numpy_twin(random_model(len(WORDS), d_model=8)), parse_tokenizer(words().to_str())
    prompt = [1, 7, 3]  # the fox
    rules = Rules(Constraints(forbid=("hen", "x m")), tokenizer, max_new_tokens=1)  # not `hen`, and not `fox met`
    sampling = Sampling(temperature=3.0, repetition_penalty=2.0, min_p=0.02)
    logits = model.forward(np.array([prompt]))[0, -1].astype(np.float64)
    for id in prompt:
        logits[id] = logits[id] / 2 if logits[id] > 0 else logits[id] * 2
    logits[[WORDS.index("hen"), WORDS.index("met")]] = -np.inf
    weights = np.exp((logits - logits.max()) / 3)
    weights[weights < 0.02] = 0
    assert 5 <= (weights > 0).sum() <= 8

    events = generate(model, [prompt], sampling, max_new_tokens=1, end_id=1, seed=0, samples=n, rules=rules)
    drawn = [ids[0] if ids else 1 for ids in collect(events, n)]
    observed, expected = np.bincount(drawn, minlength=len(WORDS)), n * weights / weights.sum()
    assert (observed[expected == 0] == 0).all()
    possible = expected > 0
    chi_square = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    # At most 7 degrees of freedom: above 24.3 with a probability below 0.001. A wrong rule gives hundreds.
    assert chi_square < 24.3
