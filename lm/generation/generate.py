"""Text generation: several prompts are continued at once, and each token is given as soon as it is drawn."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.generation.branches import start_of_context
from lm.generation.constraints import Rules, State
from lm.generation.events import End, Event, Reason, Token
from lm.generation.log_probabilities import log_probabilities
from lm.generation.penalties import barred, penalised, stuck
from lm.generation.sampling import Sampling, choose
from lm.generation.session import LanguageModel, Session


@dataclass
class Text:
    """A text that still grows."""

    row: int
    ids: list[int]  # prompt included
    n_prompt: int
    stream: np.random.Generator
    state: State | None  # of the rules

    def kept(self, context_length: int) -> list[int]:
        """The ids that are still in the context."""
        return self.ids[start_of_context(len(self.ids), context_length) :]


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

    There are `samples` texts for each prompt: the row of a text is prompt * samples + sample. A text ends when the
    model draws `end_id`, which is not yielded, when a stop string of the rules is complete, after `max_new_tokens`, or
    when the rules and `sampling.no_repeat_ngram` allow no token to follow. With `logprobs`, a token has the logarithm
    of its probability, and so many of the likeliest tokens in its place.

    Each prompt is read once, in one pass. Then all texts advance together, and those that have ended leave. When the
    context is full, its older half is dropped and the rest is read again. A prompt longer than the context loses the
    same tokens that a growing text would have lost. Each text has its own random stream, which depends on the seed, the
    number of the prompt and that of the sample. Prompts are numbered from `first_prompt` on. So no text depends on the
    others. With PyTorch on a CPU this holds to the last bit. With NumPy and on a GPU, the number of texts changes the
    rounding of products, so that rarely another token is drawn.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    texts = [
        Text(
            prompt * samples + sample,
            list(ids),
            len(ids),
            random_stream(seed, first_prompt + prompt, sample),
            rules.start(ids) if rules else None,
        )
        for prompt, ids in enumerate(prompts)
        for sample in range(samples)
    ]
    if max_new_tokens == 0:
        yield from (End(text.row, "length") for text in texts)
        return
    context_length = model.config.context_length
    session = start(model, texts)
    while texts:
        full = [place for place, length in enumerate(session.lengths) if length == context_length]
        session.refill(full, [texts[place].kept(context_length)[:-1] for place in full])
        logits = session.read(np.array([text.ids[-1:] for text in texts]), last=1)[:, -1]
        allowed = logits
        if sampling.looks_back:
            allowed = penalised(logits, sampling, [text.ids for text in texts], [text.n_prompt for text in texts])
        if rules:
            allowed = barred(allowed, [rules.barred(text.state) for text in texts if text.state is not None])
        is_stuck = stuck(allowed) if rules or sampling.no_repeat_ngram else np.zeros(len(texts), dtype=np.bool_)
        chosen = choose(allowed, sampling, np.array([text.stream.random() for text in texts]))
        reports = _reports(logits, chosen, logprobs)
        ended = set()
        for place in sorted(range(len(texts)), key=lambda place: texts[place].row):
            text, id = texts[place], int(chosen[place])
            reason: Reason | None = None
            if is_stuck[place]:
                reason = "stuck"
            elif id == end_id:
                reason = "model"
            else:
                yield Token(text.row, id, *reports[place])
                text.ids.append(id)
                if rules and text.state is not None:
                    text.state = rules.after(text.state, id)
                if text.state is not None and text.state.stopped:
                    reason = "stop"
                elif len(text.ids) == text.n_prompt + max_new_tokens:
                    reason = "length"
            if reason:
                yield End(text.row, reason)
                ended.add(place)
        if len(ended) == len(texts):
            return
        if ended:
            staying = closed_up(len(texts), ended)
            session.select(staying)
            texts = [texts[place] for place in staying]


def random_stream(seed: int, prompt: int, sample: int = 0) -> np.random.Generator:
    """The random numbers of one text. The first sample of a prompt has those that it has alone."""
    return np.random.Generator(np.random.Philox(key=[seed, prompt + (sample << 32)]))


def start(model: LanguageModel, texts: Sequence[Text]) -> Session:
    """A session that has read each text but its last token. What stands there several times is read once."""
    kept = [tuple(text.kept(model.config.context_length)[:-1]) for text in texts]
    places = {ids: place for place, ids in enumerate(dict.fromkeys(kept))}
    session = model.session(len(places))
    session.refill(range(len(places)), list(places))
    session.select([places[ids] for ids in kept])
    return session


def closed_up(n: int, gone: AbstractSet[int]) -> list[int]:
    """The places from 0 to n - 1 that stay. The last ones fill the gaps, so that most keep their place.

    >>> closed_up(5, {1})
    [0, 4, 2, 3]
    """
    n_staying = n - len(gone)
    fillers = [place for place in range(n_staying, n) if place not in gone]
    return [fillers.pop() if place in gone else place for place in range(n_staying)]


def _reports(logits: Any, chosen: NDArray[np.int64], n: int | None) -> list[tuple[Any, ...]]:
    """For each row what a `Token` holds beside its id."""
    if n is None:
        return [()] * len(chosen)
    logprobs, likeliest = log_probabilities(logits, chosen, n)
    return [(logprob, likeliest.of_row(row)) for row, logprob in enumerate(logprobs.tolist())]
