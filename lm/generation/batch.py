"""Texts that a model writes together. Before any token, a text may join them or leave."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from lm.generation.constraints import Rules, State
from lm.generation.context import Turns, ids_in_context
from lm.generation.events import End, Event, Reason, Token
from lm.generation.log_probabilities import log_probabilities
from lm.generation.penalties import barred, penalised, stuck, without
from lm.generation.sampling import Sampling, choose
from lm.generation.session import LanguageModel, Session


@dataclass(eq=False)
class Text:
    """A text that still grows.

    Attributes:
        row: its number among the events, of no other text of the batch.
        ids: its tokens, those of the prompt included.
        n_prompt: how many of them are the prompt, at least one.
        max_new_tokens: how many may follow it, at least one.
        end_id: the token that ends the text, and is no part of it.
        stream: its random numbers.
        sampling: how its tokens are chosen.
        rules: what it must not contain, and where it stops.
        state: of the rules.
        never: tokens that are not drawn.
        logprobs: how many of the likeliest tokens its events name, beside the log probability; None: neither.
        turns: those of its prompt, if it is an answer in a conversation.
    """

    row: int
    ids: list[int]
    n_prompt: int
    max_new_tokens: int
    end_id: int
    stream: np.random.Generator
    sampling: Sampling
    rules: Rules | None = None
    state: State | None = None
    never: tuple[int, ...] = ()
    logprobs: int | None = None
    turns: Turns | None = None

    def kept(self, context_length: int) -> list[int]:
        """The ids that are still in the context."""
        return ids_in_context(self.ids, context_length, self.turns)

    def grow(self, id: int) -> Reason | None:
        """Add a token. The reason why the text ends after it, or None."""
        self.ids.append(id)
        if self.rules and self.state is not None:
            self.state = self.rules.after(self.state, id)
            if self.state.stopped:
                return "stop"
        return "length" if len(self.ids) == self.n_prompt + self.max_new_tokens else None


class Batch:
    """Texts that grow together, one token of each at a time.

    No text depends on the others. With PyTorch on a CPU whose products oneDNN computes, this holds to the last bit for
    the precisions of `lm.model.matrices`. Elsewhere, as with NumPy and on a GPU, the number of texts changes the
    rounding of products, so that rarely another token is drawn.

    Attributes:
        texts: those that have not ended.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._context_length = model, model.config.context_length
        self._session: Session | None = None  # while there are texts; it has read each but its last token
        self._go_on_with([])

    def _go_on_with(self, texts: list[Text]) -> None:
        """The session has these texts, in this order."""
        self.texts = texts
        by_sampling: dict[Sampling, list[int]] = {}
        for place, text in enumerate(texts):
            by_sampling.setdefault(text.sampling, []).append(place)
        self._groups = list(by_sampling.values())
        self._by_row = sorted(range(len(texts)), key=lambda place: texts[place].row)

    def join(self, texts: Sequence[Text]) -> None:
        """Let these texts grow too. Each prompt is read in one pass, and only once if several texts have it."""
        if not texts:
            return
        n, kept = len(self.texts), [tuple(text.kept(self._context_length)[:-1]) for text in texts]
        places = {ids: n + place for place, ids in enumerate(dict.fromkeys(kept))}
        if self._session is None:
            self._session = self._model.session(len(places))
        else:
            self._session.select([*range(n), *[0] * len(places)])  # rows to read into
        self._session.refill(list(places.values()), list(places))
        self._session.select([*range(n), *(places[ids] for ids in kept)])
        self._go_on_with([*self.texts, *texts])

    def leave(self, rows: AbstractSet[int]) -> None:
        """Let the texts of these rows go."""
        gone = {place for place, text in enumerate(self.texts) if text.row in rows} if rows else set()
        if len(gone) == len(self.texts):
            self._session = None
            self._go_on_with([])
        elif gone:
            assert self._session is not None
            staying = closed_up(len(self.texts), gone)
            self._session.select(staying)
            self._go_on_with([self.texts[place] for place in staying])

    def step(self) -> list[Event]:
        """The next token of each text, or its end, in the order of the rows. Those that have ended leave."""
        assert self._session is not None, "there are texts"
        texts, session = self.texts, self._session
        full = np.flatnonzero(session.lengths == self._context_length).tolist()
        if full:
            session.refill(full, [texts[place].kept(self._context_length)[:-1] for place in full])
        logits = session.read(np.array([text.ids[-1:] for text in texts]), last=1)[:, -1]
        chosen: list[int | None] = [None] * len(texts)
        for places in self._groups:
            of_these = logits if len(places) == len(texts) else logits[places]
            for place, id in zip(places, _choose(of_these, [texts[place] for place in places]), strict=True):
                chosen[place] = id
        reports = _reports(logits, texts, chosen)
        events: list[Event] = []
        ended = set()
        for place in self._by_row:
            text, id = texts[place], chosen[place]
            reason: Reason | None = "stuck" if id is None else "model" if id == text.end_id else None
            if reason is None:
                assert id is not None
                events.append(Token(text.row, id, *reports.get(place, ())))
                reason = text.grow(id)
            if reason is not None:
                events.append(End(text.row, reason))
                ended.add(text.row)
        self.leave(ended)
        return events


def random_stream(seed: int, prompt: int, sample: int = 0) -> np.random.Generator:
    """The random numbers of one text. The first sample of a prompt has those that it has alone."""
    return np.random.Generator(np.random.Philox(key=[seed, prompt + (sample << 32)]))


def closed_up(n: int, gone: AbstractSet[int]) -> list[int]:
    """The places from 0 to n - 1 that stay. The last ones fill the gaps, so that most keep their place.

    >>> closed_up(5, {1})
    [0, 4, 2, 3]
    """
    n_staying = n - len(gone)
    fillers = [place for place in range(n_staying, n) if place not in gone]
    return [fillers.pop() if place in gone else place for place in range(n_staying)]


def _choose(logits: Any, texts: Sequence[Text]) -> Iterable[int | None]:
    """The next token of texts that have the same sampling; None where none may follow."""
    sampling, allowed = texts[0].sampling, logits
    if sampling.looks_back:
        allowed = penalised(logits, sampling, [text.ids for text in texts], [text.n_prompt for text in texts])
    if any(text.never for text in texts):
        allowed = without(allowed, [text.never for text in texts])
    has_rules = any(text.rules for text in texts)
    if has_rules:
        bars = [text.rules.barred(text.state) if text.rules and text.state is not None else None for text in texts]
        allowed = barred(allowed, bars)
    chosen: list[int] = choose(allowed, sampling, np.array([text.stream.random() for text in texts])).tolist()
    if not (has_rules or sampling.no_repeat_ngram):
        return chosen
    return [None if is_stuck else id for id, is_stuck in zip(chosen, stuck(allowed).tolist(), strict=True)]


def _reports(logits: Any, texts: Sequence[Text], chosen: Sequence[int | None]) -> dict[int, tuple[Any, ...]]:
    """What a `Token` holds beside its id, for each place where somebody asks for it."""
    reports: dict[int, tuple[Any, ...]] = {}
    asking = {place: text.logprobs for place, text in enumerate(texts) if text.logprobs is not None}
    if not asking:
        return reports
    of_these = logits if len(asking) == len(texts) else logits[list(asking)]
    ids = np.array([chosen[place] or 0 for place in asking])  # a text that is stuck gets no token
    logprobs, likeliest = log_probabilities(of_these, ids, max(asking.values()))
    for row, (place, n) in enumerate(asking.items()):
        reports[place] = float(logprobs[row]), likeliest.of_row(row)[:n]
    return reports
