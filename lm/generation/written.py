"""Texts that a model has written, each with what is known of it, as they end."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lm.generation.events import End, Event, Reason, Token
from lm.generation.texts import continuation
from lm.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class WrittenText:
    """A finished text.

    Attributes:
        index: the number of the prompt, from 0 on.
        sample: which of the texts of this prompt it is, from 0 on.
        prompt: what it continues.
        text: what follows the prompt, without a stop string.
        tokens: what the model drew, those of a stop string included.
        ended: why the text ends.
        score: what a search has ranked it by; None without a search.
    """

    index: int
    sample: int
    prompt: str
    text: str
    tokens: tuple[Token, ...]
    ended: Reason
    score: float | None

    @property
    def complete(self) -> bool:
        """Whether the text has its own end, and was not cut off."""
        return End(0, self.ended).complete

    @property
    def log_probability(self) -> float | None:
        """The natural logarithm of the probability that the model itself gives to the tokens.

        None if it was not asked for, or if the model has diverged.
        """
        logprobs = [token.logprob for token in self.tokens if token.logprob is not None]
        total = math.fsum(logprobs)
        return total if len(logprobs) == len(self.tokens) and math.isfinite(total) else None

    def as_json(self) -> dict[str, Any]:
        """What a program wants to know, without what is known of single tokens."""
        values = {
            "index": self.index,
            "sample": self.sample,
            "prompt": self.prompt,
            "text": self.text,
            "ids": [token.id for token in self.tokens],
            "log_probability": self.log_probability,
            "ended": self.ended,
            "complete": self.complete,
        }
        return values if self.score is None else values | {"score": self.score}


def written_texts(
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    events: Iterable[Event],
    *,
    samples: int = 1,
    stop: Sequence[str] = (),
    special: bool = False,
    first_prompt: int = 0,
) -> Iterator[WrittenText]:
    """Each text as it ends. The events are those of `continue_prompts` for these prompts, with the same arguments."""
    by_row: dict[int, list[Token]] = defaultdict(list)
    for event in events:
        if isinstance(event, Token):
            by_row[event.row].append(event)
            continue
        tokens, (place, sample) = by_row.pop(event.row, []), divmod(event.row, samples)
        text = "".join(continuation(tokenizer, prompts[place], [*tokens, event], stop, special=special))
        yield WrittenText(first_prompt + place, sample, prompts[place], text, tuple(tokens), event.reason, event.score)


def token_rows(tokenizer: Tokenizer, tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """Of each token its id, its text and its log probability, and the same of the likeliest tokens in its place.

    The text of a token alone can be a part of a character; such bytes are U+FFFD.
    """

    def row(id: int, logprob: float | None) -> dict[str, Any]:
        return {"id": id, "text": tokenizer.decode([id]), "logprob": logprob}

    return [
        row(token.id, token.logprob) | {"alternatives": [row(*likely) for likely in token.alternatives]}
        for token in tokens
    ]
