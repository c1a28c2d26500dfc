"""Text generation: several prompts at once, token by token as they are drawn."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lm.generation.sampling import Sampling, choose
from lm.generation.session import LanguageModel


class Token(NamedTuple):
    """A text has grown by a token."""

    row: int
    id: int


class End(NamedTuple):
    """A text is finished: `complete` where it has ended itself, cut short where not."""

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

    A text ends before `end_id`, which is not given out, or after `max_new_tokens`. All prompts begin at position 0 and
    advance together: while a longer prompt lasts, its own tokens are taken instead of drawn ones, so nothing is padded.
    Each row has a random stream of its own, a function of the seed and its place. When the context is full, the older
    half of it is dropped and the rest read again; a longer prompt is cut where that would have cut it, so that no row
    depends on those beside it.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    context_length = model.config.context_length
    streams = [np.random.Generator(np.random.Philox(key=[seed, row])) for row in range(len(prompts))]
    ends = [len(prompt) + max_new_tokens for prompt in prompts]
    # A finished text stays in the session, and its tokens are thrown away. Without it the others would be multiplied in
    # a smaller batch, which rounds differently, and so a text would depend on when its neighbours end.
    finished = [False] * len(prompts)
    # All rows hold `length` tokens, of which the model has read all but `unread`.
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
    """The first token still in the context of a text of this length."""
    dropped = context_length + 1 - (context_length + 1) // 2  # each time that one more would not fit
    return dropped * max(0, math.ceil((length - context_length) / dropped))
