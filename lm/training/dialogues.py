"""Rows of dialogues: packed without cutting one that fits, with weight on what the assistant has said."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from lm.corpus.dialogue import Dialogue, Message
from lm.tokenizer.chat import training_ids
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.batch import Batch


class Encoded(NamedTuple):
    """The ids of a dialogue, and how much the prediction of each counts."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]

    def n_bytes(self, tokenizer: Tokenizer) -> int:
        """The size of what has weight, special tokens left out."""
        special = tokenizer.special_tokens.values()
        return sum(len(tokenizer.token_bytes(id)) for id in self.ids[self.weights > 0].tolist() if id not in special)


@dataclass
class Encoding:
    """Dialogues as ids. What is longer than a row was cut after an answer, or left out if not even one fits."""

    dialogues: list[Encoded]
    n_cut: int = 0
    n_left_out: int = 0


def encode_dialogues(
    tokenizer: Tokenizer,
    dialogues: Iterable[Dialogue],
    context_length: int,
    *,
    answers_only: bool = True,
    answer_weight: float = 1.0,
) -> Encoding:
    """The dialogues as ids, each at most `context_length` + 1 of them: the last one is only predicted.

    What the assistant says, the ends of its turns included, has weight. An answer of n tokens has n ** `answer_weight`
    in all: with 1 each token counts the same, with 0 each answer, and 0.5 lies between (Chen et al. 2024,
    https://arxiv.org/abs/2412.05271, section 3.3). Other tokens have no weight, or with `answers_only` false 1, except
    the first one, which follows nothing.
    """
    encoding = Encoding([])
    for dialogue in dialogues:
        messages, ids, drawn = dialogue.messages, *training_ids(tokenizer, dialogue.messages)
        was_cut = False
        while len(ids) > context_length + 1 and messages:
            messages, was_cut = _without_last_answer(messages), True
            ids, drawn = training_ids(tokenizer, messages)
        if not drawn.any():
            encoding.n_left_out += 1
            continue
        encoding.n_cut += was_cut
        weights = _shared_out(drawn, answer_weight)
        if not answers_only:
            weights[1:][~drawn[1:]] = 1
        encoding.dialogues.append(Encoded(ids, weights))
    return encoding


def _shared_out(drawn: NDArray[np.bool_], answer_weight: float) -> NDArray[np.float32]:
    """The weight of each token of answers: each run of drawn tokens is one answer."""
    starts = np.flatnonzero(np.diff(drawn, prepend=False) & drawn)
    lengths = [np.argmin(rest) if not rest.all() else len(rest) for rest in (drawn[start:] for start in starts)]
    weights = np.zeros(len(drawn), np.float32)
    for start, length in zip(starts, lengths, strict=True):
        weights[start : start + length] = float(length) ** (answer_weight - 1)
    return weights


def _without_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages up to the answer before the last one; none if there is none."""
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    return tuple(messages[: answers[-2] + 1]) if len(answers) > 1 else ()


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """What goes into each row: places in `lengths`, whose lengths together are at most the capacity.

    Best-fit decreasing (Johnson et al. 1974, https://doi.org/10.1137/0203025): the longest first, each into the fullest
    row that has room for it. It needs at most 11/9 of the fewest possible rows, and hardly more here.

    Raises:
        AssertionError: when one is longer than the capacity.
    """
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # the room that is left in each row, and its place in `rows`; sorted
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        assert length <= capacity
        found = bisect_left(open_rows, (length, -1))
        if found == len(open_rows):
            room, row = capacity, len(rows)
            rows.append([])
        else:
            room, row = open_rows.pop(found)
        rows[row].append(place)
        insort(open_rows, (room - length, row))
    return rows


class DialogueRows:
    """Rows of whole dialogues; an epoch visits each row once, in an order of its own.

    What a row has left is filled with `end_id`, whose predictions have no weight.

    Raises:
        ValueError: when there is no dialogue.
    """

    def __init__(self, dialogues: Sequence[Encoded], context_length: int, end_id: int, *, packed: bool = True) -> None:
        if not dialogues:
            raise ValueError("dialogues: must hold one that fits into the context with its first answer, got none")
        self.context_length = context_length
        lengths = [len(dialogue.ids) for dialogue in dialogues]
        rows = pack(lengths, context_length + 1) if packed else [[place] for place in range(len(dialogues))]
        self._ids = np.full((len(rows), context_length + 1), end_id, np.int64)
        self._weights = np.zeros((len(rows), context_length + 1), np.float32)
        for row, places in enumerate(rows):
            ids = np.concatenate([dialogues[place].ids for place in places])
            self._ids[row, : len(ids)] = ids
            self._weights[row, : len(ids)] = np.concatenate([dialogues[place].weights for place in places])
        self.n_filled = sum(lengths)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._ids)

    @property
    def filled(self) -> float:
        """The share of the rows that is not filling."""
        return self.n_filled / self._ids.size

    @property
    def n_weighted(self) -> int:
        """How many predictions count in an epoch."""
        return int(np.count_nonzero(self._weights[:, 1:]))

    def draw(self, seed: int, first: int, count: int) -> Batch:
        """The `count` rows from number `first` on, of the endless sequence of rows that a seed gives."""
        epochs, places = np.divmod(np.arange(first, first + count), len(self))
        orders = [self._order(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return self._take(np.concatenate(orders))

    def spread(self, count: int) -> Batch:
        """At most `count` rows, spread evenly over all rows; always the same ones."""
        count = min(count, len(self))
        return self._take(np.arange(count) * len(self) // count)

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(self))

    def _take(self, rows: Int64[np.ndarray, " count"]) -> Batch:
        ids, weights = self._ids[rows], self._weights[rows]
        targets: Float32[np.ndarray, "count seq"] = weights[:, 1:]
        return Batch(ids[:, :-1], ids[:, 1:], targets)
