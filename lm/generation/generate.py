"""Text generation: several prompts are continued at once, and each token is given as soon as it is drawn."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.generation.branches import start_of_context
from lm.generation.constraints import Rules
from lm.generation.events import End, Event, Reason, Token
from lm.generation.log_probabilities import log_probabilities
from lm.generation.penalties import barred, penalised, stuck
from lm.generation.sampling import Sampling, choose
from lm.generation.session import LanguageModel


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    seed: int,
    samples: int = 1,
    rules: Rules | None = None,
    logprobs: int | None = None,
    first_prompt: int = 0,
) -> Iterator[Event]:
    """The tokens that follow each prompt as they are drawn, and the end of each text.

    A text ends when the model draws `end_id`, which is not yielded, when a stop string of the rules is complete, after
    `max_new_tokens`, or when the rules and `sampling.no_repeat_ngram` allow no token to follow. With `logprobs`, a
    token has the logarithm of its probability, and so many of the likeliest tokens in its place.

    All prompts begin at position 0 and advance together. As long as a prompt has tokens left, its row takes these
    instead of drawn ones, so no padding is needed. Each row has its own random stream, which depends on the seed and
    the number of the prompt. Prompts are numbered from `first_prompt` on.

    When the context is full, its older half is dropped and the rest is read again. A prompt longer than the context
    loses the same tokens that a growing text would have lost. So no row depends on the other rows.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    context_length = model.config.context_length
    streams = [
        np.random.Generator(np.random.Philox(key=[seed, first_prompt + prompt + (sample << 32)]))
        for prompt in range(len(prompts))
        for sample in range(samples)
    ]
    prompts = [prompt for prompt in prompts for _ in range(samples)]
    ends = [len(prompt) + max_new_tokens for prompt in prompts]
    # A smaller batch rounds differently. So a finished text stays in the session, and its further tokens are thrown
    # away. Otherwise the other texts would depend on when it ends.
    finished = [max_new_tokens == 0] * len(prompts)
    if all(finished):
        yield from (End(row, "length") for row in range(len(prompts)))
        return
    states = [rules.start(prompt) for prompt in prompts] if rules else []
    # Each row holds `length` tokens. The model reads `unread` next. Of the tokens before `unread`, the session holds
    # those that are still in the context.
    length = min(len(prompt) for prompt in prompts)
    rows = np.array([prompt[:length] for prompt in prompts], dtype=np.int64)
    unread = rows[:, start_of_context(length, context_length) :]
    session = model.session(len(prompts))
    while True:
        logits = session.read(unread, last=1)[:, -1]
        forced = [length < len(prompt) for prompt in prompts]
        allowed = logits
        if sampling.looks_back:
            allowed = penalised(logits, sampling, rows.tolist(), [min(length, len(prompt)) for prompt in prompts])
        if rules:
            allowed = barred(allowed, [rules.barred(state) for state in states])
        is_stuck = stuck(allowed) if rules or sampling.no_repeat_ngram else np.zeros(len(prompts), dtype=np.bool_)
        uniform = np.array([0.0 if given else stream.random() for given, stream in zip(forced, streams, strict=True)])
        chosen = choose(allowed, sampling, uniform)
        reports = _reports(logits, chosen, logprobs)
        length += 1
        for row, prompt in enumerate(prompts):
            if forced[row]:
                chosen[row] = prompt[length - 1]
            elif not finished[row]:
                id = int(chosen[row])
                reason: Reason | None = None
                if is_stuck[row]:
                    reason = "stuck"
                elif id == end_id:
                    reason = "model"
                else:
                    yield Token(row, id, *reports[row])
                    if rules:
                        states[row] = rules.after(states[row], id)
                    if rules and states[row].stopped:
                        reason = "stop"
                    elif length == ends[row]:
                        reason = "length"
                if reason:
                    finished[row] = True
                    yield End(row, reason)
        if all(finished):
            return
        rows = np.concatenate([rows, chosen[:, None]], axis=1)
        unread = rows[:, -1:]
        if session.length == context_length:
            session.rewind(context_length)
            unread = rows[:, start_of_context(length, context_length) :]


def _reports(logits: Any, chosen: NDArray[np.int64], n: int | None) -> list[tuple[Any, ...]]:
    """For each row what a `Token` holds beside its id."""
    if n is None:
        return [()] * len(chosen)
    logprobs, likeliest = log_probabilities(logits, chosen, n)
    return [(logprob, likeliest.of_row(row)) for row, logprob in enumerate(logprobs.tolist())]
