"""Text generation: several prompts are continued at once, and each token is given as soon as it is drawn."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lm.generation.sampling import Sampling, choose
from lm.generation.session import LanguageModel


class Token(NamedTuple):
    """The text of a row has grown by this token."""

    row: int
    id: int


class End(NamedTuple):
    """The text of a row is finished. It is `complete` if the model ended it, and not if `max_new_tokens` cut it off."""

    row: int
    complete: bool


Event = Token | End


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    seed: int,
) -> Iterator[Event]:
    """The tokens that follow each prompt as they are drawn, and the end of each text.

    A text ends when the model draws `end_id`, which is not yielded, or after `max_new_tokens`. All prompts begin at
    position 0 and advance together. As long as a prompt has tokens left, its row takes these instead of drawn ones, so
    no padding is needed. Each row has its own random stream, which depends on the seed and the number of the row.

    When the context is full, its older half is dropped and the rest is read again. A prompt longer than the context
    loses the same tokens that a growing text would have lost. So no row depends on the other rows.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    context_length = model.config.context_length
    streams = [np.random.Generator(np.random.Philox(key=[seed, row])) for row in range(len(prompts))]
    ends = [len(prompt) + max_new_tokens for prompt in prompts]
    # A smaller batch rounds differently. So a finished text stays in the session, and its further tokens are thrown
    # away. Otherwise the other texts would depend on when it ends.
    finished = [False] * len(prompts)
    # Each row holds `length` tokens. The model reads `unread` next. Of the tokens before `unread`, the session holds
    # those that are still in the context.
    length = min(len(prompt) for prompt in prompts)
    rows = np.array([prompt[:length] for prompt in prompts], dtype=np.int64)
    unread = rows[:, _start(length, context_length) :]
    session = model.session(len(prompts))
    while True:
        logits = session.read(unread, last=1)[:, -1]
        forced = [length < len(prompt) for prompt in prompts]
        uniform = np.array([0.0 if given else stream.random() for given, stream in zip(forced, streams, strict=True)])
        chosen = choose(logits, sampling, uniform)
        length += 1
        for row, prompt in enumerate(prompts):
            if forced[row]:
                chosen[row] = prompt[length - 1]
            elif not finished[row]:
                complete = bool(chosen[row] == end_id)
                finished[row] = complete or length == ends[row]
                if not complete:
                    yield Token(row, int(chosen[row]))
                if finished[row]:
                    yield End(row, complete)
        if all(finished):
            return
        rows = np.concatenate([rows, chosen[:, None]], axis=1)
        unread = rows[:, -1:]
        if session.length == context_length:
            session.rewind(context_length)
            unread = rows[:, _start(length, context_length) :]


def counted(events: Iterable[Event], progress: Callable[[int], object]) -> Iterator[Event]:
    """The same events; `progress` is called with 1 for each token."""
    for event in events:
        if isinstance(event, Token):
            progress(1)
        yield event


def collect(events: Iterable[Event], n_rows: int) -> list[list[int]]:
    """The ids that follow each prompt, once all texts are finished."""
    ids: list[list[int]] = [[] for _ in range(n_rows)]
    for event in events:
        if isinstance(event, Token):
            ids[event.row].append(event.id)
    return ids


def _start(length: int, context_length: int) -> int:
    """The index of the first token that is still in the context when a text has this length."""
    dropped = context_length + 1 - (context_length + 1) // 2  # tokens, each time that one more would not fit
    return dropped * max(0, math.ceil((length - context_length) / dropped))
