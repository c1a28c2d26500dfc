"""Tests of lm/generation/contrastive.py: the formula of the paper, computed slowly."""

from itertools import pairwise

import pytest
import torch

from lm.generation.context import start_of_context
from lm.generation.contrastive import Contrastive, contrastive_search
from lm.generation.events import End, Token, collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY, Sampling
from lm.generation.session import LanguageModel
from lm.model.transformer import Transformer
from tests.generation import test_generate
from tests.generation.test_generate import END_ID, never_ending
from tests.small import numpy_twin

# After the end token alone, the model that never ends gives the same probability to every token.
PROMPTS = [prompt for prompt in test_generate.PROMPTS if len(prompt) > 1]


@torch.no_grad()
def slowly(model: Transformer, prompt: list[int], alpha: float, k: int, n: int) -> list[int]:
    """Equation 5 of Su et al. 2022: each candidate is read with the whole context."""
    text = list(prompt)
    for _ in range(n):
        context_length = model.config.context_length
        logits = model(torch.tensor([text[start_of_context(len(text), context_length) :]]))[0, -1]
        probabilities, ids = logits.softmax(-1).topk(k)
        whole = torch.tensor([[*text, id] for id in ids.tolist()])
        states = model.hidden(whole[:, start_of_context(whole.shape[1], context_length) :])
        similar = torch.cosine_similarity(states[:, -1:], states[:, :-1], dim=-1).amax(-1)
        scores = (1 - alpha) * probabilities - alpha * similar
        best = ids[int(scores.argmax())].item()
        if best == END_ID:
            break
        text.append(int(best))
    return text[len(prompt) :]


@pytest.mark.parametrize(("alpha", "k"), [(0.6, 4), (1.0, 3)])
def test_the_search_follows_the_formula(alpha: float, k: int) -> None:
    model = never_ending()  # with a context of 8, which most of these texts leave
    expected = [slowly(model, prompt, alpha, k, 12) for prompt in PROMPTS]
    greedy = generate(model, PROMPTS, GREEDY, max_new_tokens=12, end_id=END_ID, seed=0)
    assert expected != collect(greedy, len(PROMPTS))
    readers: list[LanguageModel] = [model, numpy_twin(model)]
    for reading in readers:
        search = Contrastive(alpha, k)
        events = contrastive_search(reading, PROMPTS, search, GREEDY, max_new_tokens=12, end_id=END_ID)
        assert collect(events, len(PROMPTS)) == expected


def test_without_a_penalty_the_likeliest_token_is_taken() -> None:
    model = never_ending()
    for contrastive in (Contrastive(0.7, 1), Contrastive(0.0, 10**6)):
        events = contrastive_search(model, PROMPTS, contrastive, GREEDY, max_new_tokens=10, end_id=END_ID)
        greedy = generate(model, PROMPTS, GREEDY, max_new_tokens=10, end_id=END_ID, seed=0)
        assert collect(events, len(PROMPTS)) == collect(greedy, len(PROMPTS))


def test_penalties_and_reports_and_ends_are_those_of_other_strategies() -> None:
    model, search = never_ending(), Contrastive(0.6, 4)
    sampling = Sampling(no_repeat_ngram=2)
    events = list(
        contrastive_search(model, PROMPTS[:2], search, sampling, max_new_tokens=12, end_id=END_ID, logprobs=2)
    )
    for row, text in enumerate(collect(events, 2)):
        whole = PROMPTS[row] + text
        assert len(set(pairwise(whole))) == len(whole) - 1
    assert [event for event in events if isinstance(event, End)] == [End(0, "length"), End(1, "length")]
    first = events[0]
    assert isinstance(first, Token)
    logprobs = model(torch.tensor([PROMPTS[0]]))[0, -1].log_softmax(-1).detach()
    assert first.logprob == pytest.approx(float(logprobs[first.id]), abs=1e-4)  # logits of size 10 in float32
    assert [id for id, _ in first.alternatives] == logprobs.topk(2).indices.tolist()
    nothing = contrastive_search(model, PROMPTS[:2], search, GREEDY, max_new_tokens=0, end_id=END_ID)
    assert list(nothing) == [End(0, "length"), End(1, "length")]
