"""Contrastive search: likely tokens that do not say what has been said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray

from lm.config.sample import SampleConfig
from lm.generation.branches import Branches
from lm.generation.constraints import NoRules, Rules
from lm.generation.events import End, Event, Token
from lm.generation.largest import largest
from lm.generation.log_probabilities import log_probabilities, log_softmax
from lm.generation.penalties import barred, penalised, stuck
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel


@dataclass(frozen=True)
class Contrastive:
    """Between the `top_k` likeliest tokens, `penalty_alpha` weighs being unlike the context against being likely."""

    penalty_alpha: float
    top_k: int

    @classmethod
    def of(cls, config: SampleConfig) -> Self:
        """The search that the `sample` section asks for."""
        assert config.penalty_alpha is not None
        assert config.top_k is not None, "the section has checked this"
        return cls(config.penalty_alpha, config.top_k)


def contrastive_search(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    contrastive: Contrastive,
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    rules: Rules | None = None,
    logprobs: int | None = None,
) -> Iterator[Event]:
    """The events of one text for each prompt, one prompt after another.

    The next token is the one of the `top_k` likeliest tokens v with the greatest

        (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)

    where h_v is what the head reads after v, and h_j what it has read after each token of the context (Su et al. 2022,
    https://arxiv.org/abs/2202.06417, equation 5). Of equals the likelier one is taken. The penalties of `sampling` and
    the rules change p. The rest of `sampling` has no effect.
    """
    for row, prompt in enumerate(prompts):
        if max_new_tokens == 0:
            yield End(row, "length")
        else:
            yield from _one_text(
                row, model, prompt, contrastive, sampling, max_new_tokens, end_id, rules or NoRules(), logprobs
            )


def _one_text(
    row: int,
    model: LanguageModel,
    prompt: Sequence[int],
    contrastive: Contrastive,
    sampling: Sampling,
    max_new_tokens: int,
    end_id: int,
    rules: Rules | NoRules,
    logprobs: int | None,
) -> Iterator[Event]:
    branches, rule_state = Branches(model, prompt), rules.start(prompt)
    states, logits = branches.session.read_states(branches.unread())
    context, logits = _directions(states[0]), logits[:, -1]
    for length in range(1, max_new_tokens + 1):
        allowed = log_softmax(logits)
        if sampling.looks_back:
            allowed = penalised(allowed, sampling, branches.texts.tolist(), [len(prompt)])
        allowed = barred(allowed, [rules.barred(rule_state)])
        if stuck(allowed)[0]:
            yield End(row, "stuck")
            return
        ids, probabilities = _likeliest(allowed, contrastive.top_k)
        branches.fork([0] * len(ids), ids)
        states, next_logits = branches.session.read_states(branches.unread())
        if states.shape[1] > 1:  # the context was full, and its newer half has been read again
            context = _directions(states[0, :-1])
        directions = _directions(states[:, -1])
        alpha = contrastive.penalty_alpha
        scores = (1 - alpha) * probabilities - alpha * (directions @ context.T).max(-1)
        best = int(scores.argmax())
        if ids[best] == end_id:
            yield End(row, "model")
            return
        yield Token(row, ids[best], *_report(logits, ids[best], logprobs))
        rule_state = rules.after(rule_state, ids[best])
        if rule_state.stopped or length == max_new_tokens:
            yield End(row, "stop" if rule_state.stopped else "length")
            return
        branches.keep([best])
        context, logits = np.concatenate([context, directions[[best]]]), next_logits[[best], -1]


def _likeliest(log_probs: Float[Any, "1 vocab"], k: int) -> tuple[list[int], Float64[np.ndarray, " n"]]:
    """The k likeliest ids that are allowed, the likeliest first, and their probabilities."""
    ids, values = largest(log_softmax(log_probs), k)
    order = np.argsort(-values[0], kind="stable")
    order = order[values[0, order] > -np.inf]
    return ids[0, order].tolist(), np.exp(values[0, order])


def _directions(states: Float[Any, "n d_model"]) -> Float64[np.ndarray, "n d_model"]:
    """The states with the length 1, on the CPU."""
    array: NDArray[Any] = states if isinstance(states, np.ndarray) else states.cpu().double().numpy()
    wide = array.astype(np.float64, copy=False)
    lengths: NDArray[np.float64] = np.sqrt((wide * wide).sum(-1, keepdims=True))
    return wide / np.maximum(lengths, np.finfo(np.float64).tiny)


def _report(logits: Float[Any, "1 vocab"], id: int, n: int | None) -> tuple[Any, ...]:
    """What a `Token` says beside its id."""
    if n is None:
        return ()
    logprobs, likeliest = log_probabilities(logits, np.array([id]), n)
    return float(logprobs[0]), likeliest.of_row(0)
