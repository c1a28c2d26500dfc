"""What happens while texts are generated."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

# Why a text ends: the model drew the end token; a stop string is complete; the text has as many tokens as were asked
# for; no token is allowed to follow.
Reason = Literal["model", "stop", "length", "stuck"]


class Token(NamedTuple):
    """The text of a row has grown by this token.

    Attributes:
        logprob: the natural logarithm of its probability, where that was asked for. It is the probability that the
            model itself gives, before penalties, temperature, filters and bans.
        alternatives: the ids of the likeliest tokens at this place, and their logarithms; the likeliest first.
    """

    row: int
    id: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


class End(NamedTuple):
    """The text of a row is finished. `score` is what a search has ranked the text by."""

    row: int
    reason: Reason
    score: float | None = None

    @property
    def complete(self) -> bool:
        """Whether the text has its own end, and was not cut off."""
        return self.reason in ("model", "stop")


Event = Token | End


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
