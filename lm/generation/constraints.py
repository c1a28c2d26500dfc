"""What a text must not contain, what it must contain, and where it stops, whatever tokens spell it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool

from lm.config.sample import SampleConfig
from lm.generation.phrases import APART, IN_WORD, Vocabulary, anywhere, as_word, border, stop_at
from lm.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Constraints:
    """Words and phrases, as they are written.

    Attributes:
        stop: the text ends before the first of these. It may not begin in the prompt.
        forbid: none of these is ever completed, not even inside a longer word. It may begin in the prompt.
        require: the text holds each of these, with no letter or digit directly before or after it. The prompt does not
            count.
    """

    stop: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    require: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: SampleConfig) -> Self:
        """The constraints of the `sample` section."""
        return cls(tuple(config.stop), tuple(config.forbid), tuple(config.require))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.stop or self.forbid or self.require)


class State(NamedTuple):
    """What matters of a text for its constraints: the states of the automata, and whether a stop string is complete."""

    forbid: int
    stop: int
    stopped: bool
    require: tuple[int, ...]


class Rules:
    """Constraints in the tokens of a tokenizer.

    Attributes:
        n_required: how many tokens spell what is required, each phrase after a space.
    """

    def __init__(self, constraints: Constraints, tokenizer: Tokenizer, *, max_new_tokens: int) -> None:
        """
        Args:
            constraints: what texts must and must not contain.
            tokenizer: spells them.
            max_new_tokens: the length of the texts. What is required must fit into it.

        Raises:
            ValueError: when no text can fulfil the constraints: `place: rule, got value`.
        """
        self._tokenizer, self._constraints = tokenizer, constraints
        self._forbid = anywhere([phrase.encode() for phrase in constraints.forbid])
        self._stop = anywhere([phrase.encode() for phrase in constraints.stop])
        self._required = _needed([self._requirement(i, phrase) for i, phrase in enumerate(constraints.require)])
        self._bars: dict[tuple[int, bool], Bool[np.ndarray, " vocab"]] = {}
        self.n_required = sum(phrase.n_tokens for phrase in self._required)
        if self.n_required > max_new_tokens:
            raise ValueError(
                f"sample.max_new_tokens: must be {self.n_required} or more, because so many tokens spell what "
                f"sample.require holds, got {max_new_tokens}"
            )

    def start(self, prompt_ids: Sequence[int]) -> State:
        """The state of a text that is its prompt alone."""
        prompt = b"".join(map(self._bytes, prompt_ids))
        return State(self._forbid.walk(0, prompt)[-1], 0, False, (border(prompt),) * len(self._required))

    def after(self, state: State, id: int) -> State:
        """The state of the text with one token more."""
        text = self._bytes(id)
        stops = self._stop.walk(state.stop, text)
        return State(
            self._forbid.walk(state.forbid, text)[-1],
            stops[-1],
            bool(self._stop.found[stops[1:]].any()),
            tuple(r.automaton.walk(s, text)[-1] for r, s in zip(self._required, state.require, strict=True)),
        )

    def barred(self, state: State) -> Bool[np.ndarray, " vocab"] | None:
        """Which ids may not follow. None where all may."""
        unmet = not self.met(state)
        if not unmet and not self._constraints.forbid:
            return None
        key = (state.forbid, unmet)
        if key not in self._bars:
            bar = self._vocabulary.finding(self._forbid, state.forbid)
            bar[self._tokenizer.end_id] = unmet
            self._bars[key] = bar
        return self._bars[key]

    def met(self, state: State) -> bool:
        """Whether the text holds all that is required, if it ends here."""
        return all(r.automaton.found[s] for r, s in zip(self._required, state.require, strict=True))

    def progress(self, state: State) -> int:
        """How many of the `n_required` tokens are written: of the phrases that the text holds, and of one more."""
        states = list(zip(self._required, state.require, strict=True))
        done = sum(r.n_tokens for r, s in states if r.automaton.found[s])
        return done + max((r.n_tokens - r.n_left(s) for r, s in states if not r.automaton.found[s]), default=0)

    def advances(self, state: State) -> set[int]:
        """The ids that bring the text nearer to what is required."""
        states = zip(self._required, state.require, strict=True)
        return {id for r, s in states if not r.automaton.found[s] for id in r.next_ids(s)}

    def fulfilled(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> bool:
        """Whether what is shown of a text, which ends before a stop string, holds all that is required."""
        text = b"".join(map(self._bytes, ids))
        shown = text[: stop_at(text, [phrase.encode() for phrase in self._constraints.stop])]
        start = border(b"".join(map(self._bytes, prompt_ids)))
        return all(r.automaton.found[r.automaton.walk(start, shown)[-1]] for r in self._required)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary([self._bytes(id) for id in range(self._tokenizer.vocab_size)])

    def _bytes(self, id: int) -> bytes:
        """What a token adds to the text. The end token is no text."""
        return b"" if id == self._tokenizer.end_id else self._tokenizer.token_bytes(id)

    def _requirement(self, i: int, phrase: str) -> "_Requirement":
        place = f"sample.require.{i}"
        for name, others in (("forbid", self._constraints.forbid), ("stop", self._constraints.stop)):
            if any(other in f" {phrase}" for other in others):
                raise ValueError(f"{place}: must hold nothing of sample.{name}, got {phrase!r}")
        spellings = [self._tokenizer.encode(text) for text in (f" {phrase}", phrase)]
        requirement = _Requirement(
            phrase.encode(), [[(id, self._bytes(id)) for id in spelling] for spelling in spellings]
        )
        if not requirement.can_be_spelled:
            raise ValueError(f"{place}: must be text that the tokenizer can spell, got {phrase!r}")
        return requirement


def _needed(phrases: "Sequence[_Requirement]") -> "list[_Requirement]":
    """The phrases that are not fulfilled with another one, because that one holds them."""

    def holds(longer: _Requirement, shorter: _Requirement) -> bool:
        return bool(shorter.automaton.found[shorter.automaton.walk(APART, longer.phrase)[-1]])

    return [
        each
        for i, each in enumerate(phrases)
        if not any(holds(other, each) and (other.phrase != each.phrase or j < i) for j, other in enumerate(phrases))
    ]


class NoRules:
    """Rules of texts that may be anything."""

    n_required = 0
    _anything = State(0, 0, False, ())

    def start(self, prompt_ids: Sequence[int]) -> State:
        """The state of a text that is its prompt alone."""
        return self._anything

    def after(self, state: State, id: int) -> State:
        """The state of the text with one token more."""
        return state

    def barred(self, state: State) -> None:
        """No ids."""

    def met(self, state: State) -> bool:
        """True."""
        return True

    def progress(self, state: State) -> int:
        """No tokens are required."""
        return 0

    def advances(self, state: State) -> set[int]:
        """No ids."""
        return set()

    def fulfilled(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> bool:
        """True."""
        return True


class _Requirement:
    """A phrase that a text must hold, and the tokens that spell it.

    Attributes:
        phrase: its bytes.
        automaton: finds it.
        can_be_spelled: whether tokens can write it after another word.
        n_tokens: how many tokens that takes.
    """

    def __init__(self, phrase: bytes, spellings: Sequence[Sequence[tuple[int, bytes]]]) -> None:
        self.phrase, self.automaton = phrase, as_word(phrase)
        # For a state of the automaton: the ids that lead on, and how many tokens are left with each.
        self._ways: dict[int, dict[int, int]] = defaultdict(dict)
        for start in (IN_WORD, APART):
            for spelling in spellings:
                states = [start]
                for _, text in spelling:
                    states.append(self.automaton.walk(states[-1], text)[-1])
                if self.automaton.found[states[-1]]:
                    for place, (id, _) in enumerate(spelling):
                        left = len(spelling) - place
                        known = self._ways[states[place]].get(id, left)
                        self._ways[states[place]][id] = min(left, known)
        self.can_be_spelled = IN_WORD in self._ways
        self.n_tokens = self.n_left(IN_WORD)

    def n_left(self, state: int) -> int:
        """How many tokens are left to write. Where the text holds the beginning of no spelling, all of them."""
        return min(self._onward(state).values(), default=0)

    def next_ids(self, state: int) -> Iterable[int]:
        """The ids with which the phrase begins or goes on."""
        return self._onward(state)

    def _onward(self, state: int) -> dict[int, int]:
        return self._ways.get(state) or self._ways.get(IN_WORD, {})
