"""What of a text is still in the context when it has outgrown it."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Turns(NamedTuple):
    """How a conversation can be shortened.

    Attributes:
        n_stay: so many of its first tokens stay: the end of text before it, and a system message.
        starts: the places of the tokens with which its turns begin, each a message of the user and what follows it.
    """

    n_stay: int
    starts: tuple[int, ...]


def start_of_context(length: int, context_length: int) -> int:
    """The index of the first token that is still in the context when a text has this length.

    When the context is full, its older half is dropped.
    """
    dropped = context_length + 1 - (context_length + 1) // 2  # tokens, each time that one more would not fit
    return dropped * max(0, math.ceil((length - context_length) / dropped))


def ids_in_context(ids: Sequence[int], context_length: int, turns: Turns | None = None) -> list[int]:
    """The ids of a text that are still in the context; of a conversation, those of whole turns.

    A conversation loses its oldest turns when the context is full, at least so many that a sixteenth of it is free. The
    last turn alone is shortened as any text is.
    """
    if turns is None:
        return list(ids[start_of_context(len(ids), context_length) :])
    start, limit = turns.n_stay, context_length - context_length // 16
    while turns.n_stay + len(ids) - start > context_length:
        n_when_full = start - turns.n_stay + context_length + 1
        later = (place for place in turns.starts if place > start and turns.n_stay + n_when_full - place <= limit)
        if (next_start := next(later, None)) is None:
            return ids_in_context([*ids[: turns.n_stay], *ids[start:]], context_length)
        start = next_start
    return [*ids[: turns.n_stay], *ids[start:]]
