"""Speculative decoding: several tokens are guessed cheaply, and the model checks them all in one pass.

Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, algorithm 1. A guess x that was drawn from q is kept with the
probability min(1, p(x) / q(x)), where p is the model's distribution after `Sampling`. After the first guess that is not
kept, a token is drawn from max(0, p - q). So each token has exactly the distribution p, and greedy texts are those of
plain decoding, but for ties within rounding. Only the speed depends on the guesses.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from lm.generation.batch import Text, random_stream
from lm.generation.context import start_of_context
from lm.generation.events import End, Event, Reason, Token
from lm.generation.largest import finite, on_host
from lm.generation.sampling import Sampling, candidates
from lm.generation.session import LanguageModel


@runtime_checkable  # so that the tests can check arguments
class Guesses(Protocol):
    """What guesses the next tokens of a text."""

    def guess(
        self, text: Sequence[int], n: int, sampling: Sampling, stream: np.random.Generator
    ) -> tuple[list[int], list[Float64[np.ndarray, " vocab"] | None]]:
        """Up to n ids that may follow, and the distribution that each was drawn from; None if there was no choice."""


class PromptLookup:
    """Guesses that a text goes on as it did after the last place where its last few tokens stood.

    Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding. It costs nothing, and helps where texts repeat
    themselves or their prompt.
    """

    def __init__(self, longest: int = 3) -> None:
        self._longest = longest

    def guess(
        self, text: Sequence[int], n: int, sampling: Sampling, stream: np.random.Generator
    ) -> tuple[list[int], list[Float64[np.ndarray, " vocab"] | None]]:
        """What followed the longest repeated ending of the text; nothing if no ending is repeated."""
        ids = np.asarray(text)
        for size in range(min(self._longest, len(ids) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(ids[:-1], size)
            found = np.flatnonzero((windows == ids[len(ids) - size :]).all(-1))
            if len(found):
                guessed = ids[found[-1] + size :][:n].tolist()
                return guessed, [None] * len(guessed)
        return [], []


class DraftModel:
    """Guesses by a smaller model with the same vocabulary, which reads the same text in a session of its own."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._session = model.session(1)
        self._read: list[int] = []  # what the session holds

    def guess(
        self, text: Sequence[int], n: int, sampling: Sampling, stream: np.random.Generator
    ) -> tuple[list[int], list[Float64[np.ndarray, " vocab"] | None]]:
        """Ids drawn one after another; fewer than half of the context of the draft model."""
        context_length = self._model.config.context_length
        n = min(n, (context_length + 1) // 2 - 1)  # so that the half that is kept of a full context holds more
        if n < 1:
            return [], []
        kept = list(text[start_of_context(len(text) + n, context_length) :])
        n_same = _n_same(self._read, kept[:-1])
        if n_same == 0:
            self._session.refill([0], [kept[:-1]])
        else:
            self._session.rewind(len(self._read) - n_same)
        unread, guessed, distributions = kept[n_same if n_same else len(kept) - 1 :], [], []
        self._read = kept
        for _ in range(n):
            logits = self._session.read(np.array([unread]), last=1)[:, -1]
            (p,) = distribution(logits, sampling)
            id = _draw(p, stream.random())
            guessed.append(id)
            distributions.append(p)
            unread = [id]
        self._read = kept + guessed[:-1]
        return guessed, distributions


def speculate(
    model: LanguageModel,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    guesses: Guesses,
    n_guesses: int,
    max_new_tokens: int,
    end_id: int,
    seed: int,
    row: int = 0,
    first_prompt: int = 0,
) -> Iterator[Event]:
    """The tokens that follow a prompt, as `generate` gives them, with the same distribution.

    Random numbers are used in another order than there. So a seed gives another text, unless the temperature is 0.

    Raises:
        ValueError: for penalties, which depend on tokens that are only guessed.
    """
    if sampling.looks_back:
        raise ValueError("sample: guessed tokens do not go with penalties or no_repeat_ngram: leave out the draft")
    context_length = model.config.context_length
    stream = random_stream(seed, first_prompt + row)
    text = Text(row, list(prompt), len(prompt), max_new_tokens, end_id, stream, sampling)
    if max_new_tokens == 0:
        yield End(row, "length")
        return
    session = model.session(1)
    session.refill([0], [text.kept(context_length)[:-1]])
    while True:
        if session.length == context_length:
            session.refill([0], [text.kept(context_length)[:-1]])
        room = min(n_guesses, len(prompt) + max_new_tokens - len(text.ids) - 1, context_length - session.length - 1)
        guessed, drawn_from = guesses.guess(text.ids, room, sampling, text.stream) if room else ([], [])
        logits = session.read(np.array([[text.ids[-1], *guessed]]))[0]
        new, n_kept = checked(distribution(logits, sampling), guessed, drawn_from, text.stream)
        session.rewind(len(guessed) - n_kept)
        for id in new:
            reason: Reason | None = "model" if id == end_id else None
            if reason is None:
                yield Token(row, id)
                reason = text.grow(id)
            if reason is not None:
                yield End(row, reason)
                return


def checked(
    wanted: Float64[np.ndarray, "places vocab"],
    guessed: Sequence[int],
    drawn_from: Sequence[Float64[np.ndarray, " vocab"] | None],
    stream: np.random.Generator,
) -> tuple[list[int], int]:
    """The guesses that are kept and the token after them, and how many were kept.

    `wanted` are the model's distributions at the place of each guess and at the place after them. A guess without a
    distribution was certain: its q is 1 for this id.
    """
    for place, (id, q) in enumerate(zip(guessed, drawn_from, strict=True)):
        p = wanted[place]
        if stream.random() * (1.0 if q is None else q[id]) < p[id]:
            continue
        rest = p.copy()
        if q is None:
            rest[id] = 0
        else:
            rest = np.maximum(p - q, 0)
        # Where rounding leaves nothing over, p and q are equal.
        return [*guessed[:place], _draw(rest if rest.any() else p, stream.random())], place
    return [*guessed, _draw(wanted[-1], stream.random())], len(guessed)


def distribution(logits: Any, sampling: Sampling) -> Float64[np.ndarray, "places vocab"]:
    """The probability of each token after temperature and filters. With temperature 0 the likeliest has all of it."""
    logits = finite(on_host(logits))
    logits = logits if isinstance(logits, np.ndarray) else logits.float().cpu().numpy()
    result = np.zeros(logits.shape)
    if sampling.temperature == 0:
        result[np.arange(len(logits)), logits.argmax(-1)] = 1
        return result
    for row, probabilities in zip(logits, result, strict=True):
        ids, weights = candidates(row, sampling)
        probabilities[slice(None) if ids is None else ids] = weights / weights.sum()
    return result


def _draw(weights: NDArray[np.float64], uniform: float) -> int:
    reached = weights.cumsum()
    return int((reached <= uniform * reached[-1]).sum())


def _n_same(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two lists have in common from their start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
