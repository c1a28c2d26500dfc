"""Tests of lm/generation/speculation.py: texts have the distribution of plain decoding, whatever is guessed."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lm.generation.events import End, collect
from lm.generation.sampling import GREEDY, Sampling
from lm.generation.session import LanguageModel
from lm.generation.speculation import DraftModel, Guesses, PromptLookup, checked, distribution, speculate
from lm.model.transformer import Transformer
from tests.generation.test_generate import END_ID, PROMPTS, VOCAB_SIZE, never_ending, texts_of
from tests.small import model_config, numpy_twin, random_model


def guessing(name: str, model: LanguageModel) -> Guesses:
    other: dict[str, Guesses] = {
        "lookup": PromptLookup(),
        "another model": DraftModel(random_model(VOCAB_SIZE, context_length=6, n_layers=1)),
        "the model itself": DraftModel(model),
    }
    return other[name]


@pytest.mark.parametrize("n_guesses", [1, 4])
@pytest.mark.parametrize("name", ["lookup", "another model", "the model itself"])
def test_greedy_texts_are_those_of_plain_decoding_also_where_the_context_is_full(name: str, n_guesses: int) -> None:
    for model in (never_ending(), random_model(VOCAB_SIZE, positions="alibi", window=3)):
        for prompt in PROMPTS[1:4]:
            events = speculate(
                model,
                prompt,
                GREEDY,
                guesses=guessing(name, model),
                n_guesses=n_guesses,
                max_new_tokens=25,
                end_id=END_ID,
                seed=0,
            )
            assert collect(events, 1) == texts_of(model, [prompt], GREEDY, 25)


def test_a_model_that_guesses_itself_is_always_right_and_reads_several_tokens_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = numpy_twin(never_ending(context_length=64))
    read = []

    class Counting:
        config = model.config

        def session(self, batch_size: int) -> Any:
            session = model.session(batch_size)
            original = session.read

            def counting(ids: NDArray[np.int64], last: int | None = None) -> Any:
                read.append(ids.shape[1])
                return original(ids, last)

            monkeypatch.setattr(session, "read", counting)
            return session

    events = list(
        speculate(
            Counting(),
            [0, 5],
            Sampling(0.9, top_k=9),
            guesses=DraftModel(model),
            n_guesses=4,
            max_new_tokens=20,
            end_id=END_ID,
            seed=1,
        )
    )
    assert events[-1] == End(0, "length")
    assert len(events) == 21
    assert read == [5, 5, 5, 5]  # each gives four guesses and one more


@pytest.mark.parametrize("certain", [True, False])
def test_what_is_checked_has_the_distribution_of_the_model(certain: bool) -> None:
    generator = np.random.Generator(np.random.Philox(key=3))
    p, n = np.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4]]), 20_000
    q = np.array([0.1, 0.3, 0.1, 0.5])
    counts = np.zeros(4)
    pairs = np.zeros(4)
    for _ in range(n):
        guess = 1 if certain else int(generator.choice(4, p=q))
        new, n_kept = checked(p, [guess], [None if certain else q], generator)
        counts[new[0]] += 1
        assert len(new) == n_kept + 1
        if n_kept:
            pairs[new[1]] += 1
    # Four standard deviations of a binomial count.
    assert (np.abs(counts - n * p[0]) <= 4 * np.sqrt(n * p[0] * (1 - p[0]))).all()
    n_kept_in_all = pairs.sum()
    assert n_kept_in_all / n == pytest.approx(0.3 if certain else np.minimum(p[0], q).sum(), abs=4 * 0.5 / np.sqrt(n))
    assert (np.abs(pairs - n_kept_in_all * p[1]) <= 4 * np.sqrt(n_kept_in_all * p[1] * (1 - p[1]))).all()


@pytest.mark.parametrize("name", ["lookup", "draft"])
def test_whole_texts_have_the_distribution_of_plain_sampling(name: str) -> None:
    vocab_size, sampling, n = 5, Sampling(1.3, top_p=0.95), 500
    torch_model, small = (
        Transformer(model_config(n_layers=1, d_model=width, context_length=16), vocab_size, seed=width).double()
        for width in (8, 4)
    )
    with torch.no_grad():
        for p in (*torch_model.parameters(), *small.parameters()):
            p.mul_(4)
    model, prompt = numpy_twin(torch_model), [1, 2, 1, 2, 3, 1]

    def following(text: list[int]) -> NDArray[np.float64]:
        logits = model.session(1).read(np.array([text]), last=1)[:, -1]
        probabilities: NDArray[np.float64] = distribution(logits, sampling)[0]
        return probabilities

    expected = {
        (a, b): following(prompt)[a] * following([*prompt, a])[b] for a, b in product(range(vocab_size), repeat=2)
    }
    guesses = PromptLookup() if name == "lookup" else DraftModel(numpy_twin(small))
    found = dict.fromkeys(expected, 0)
    for seed in range(n):
        events = speculate(
            model, prompt, sampling, guesses=guesses, n_guesses=2, max_new_tokens=2, end_id=99, seed=seed
        )
        a, b = collect(events, 1)[0]
        found[a, b] += 1
    assert sum(p > 0.01 for p in expected.values()) > 5
    for pair, p in expected.items():
        assert abs(found[pair] - n * p) <= 4.5 * np.sqrt(n * p * (1 - p)) + 1e-9


def test_penalties_and_an_end_at_once() -> None:
    model = never_ending()
    arguments: dict[str, Any] = {"guesses": PromptLookup(), "n_guesses": 3, "end_id": END_ID, "seed": 0}
    with pytest.raises(ValueError, match=r"^sample: guessed tokens do not go with penalties"):
        next(speculate(model, [0], Sampling(repetition_penalty=1.2), max_new_tokens=3, **arguments))
    assert list(speculate(model, [0], GREEDY, max_new_tokens=0, **arguments)) == [End(0, "length")]
