"""Beam search: the texts that the model finds likeliest, also among those that hold given words."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from lm.config.sample import SampleConfig
from lm.generation.branches import Branches
from lm.generation.constraints import NoRules, Rules, State
from lm.generation.events import End, Event, Reason, Token
from lm.generation.largest import largest
from lm.generation.log_probabilities import at, log_probabilities, log_softmax
from lm.generation.penalties import barred, penalised
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel


@dataclass(frozen=True)
class Beams:
    """How wide a search is, how its texts are ranked, and when it ends.

    Attributes:
        n: how many texts are followed at once.
        length_penalty: a text of n tokens, its end token included, has the score log(probability) / n**length_penalty
            (Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 7, in the form of `transformers`).
        early_stopping: True ends the search as soon as n texts are finished. False ends it when the best text that
            goes on, divided by its present length, is worse than all of these. "never" divides it by the greatest
            length instead, if the penalty is above 0, so that the search ends only when no text can become better.
    """

    n: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False

    @classmethod
    def of(cls, config: SampleConfig) -> Self:
        """The search that the `sample` section asks for."""
        return cls(config.beams, config.length_penalty, config.early_stopping)


# What a `Token` says beside its row.
_Report = tuple[Any, ...]


class _Branch(NamedTuple):
    """A text that goes on: the logarithm of its probability, its new tokens, and where it stands in the rules."""

    log_probability: float
    tokens: tuple[_Report, ...]
    state: State


class _Step(NamedTuple):
    """One token more for a branch, and why the text then ends, if it does."""

    log_probability: float  # of the whole text
    parent: int
    id: int
    state: State
    reason: Reason | None


class _Finished(NamedTuple):
    score: float
    tokens: tuple[_Report, ...]
    reason: Reason


def beam_search(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    beams: Beams,
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    n_best: int = 1,
    rules: Rules | None = None,
    logprobs: int | None = None,
) -> Iterator[Event]:
    """The events of the `n_best` texts that follow each prompt, the best of a prompt first.

    The row of a text is its prompt's number times `n_best`, plus its rank. All events of a prompt come when its search
    ends. The penalties of `sampling` change the log probabilities before these are added up, as in `transformers`. The
    rest of `sampling` has no effect.

    Where the rules require phrases, the beams are divided among the numbers of their tokens that a text already holds
    (dynamic beam allocation, Post and Vilar 2018, https://arxiv.org/abs/1804.06609). If the search finds no text that
    fulfils the rules, the text is empty and its end is "stuck".
    """
    assert 1 <= n_best <= beams.n
    for i, prompt in enumerate(prompts):
        search = _Search(model, prompt, beams, sampling, max_new_tokens, end_id, rules, logprobs)
        found = search.best() if max_new_tokens else [_Finished(0.0, (), "length")] * n_best
        for rank in range(n_best):
            row = i * n_best + rank
            if rank < len(found):
                yield from (Token(row, *token) for token in found[rank].tokens)
                yield End(row, found[rank].reason, found[rank].score)
            else:
                yield End(row, "stuck")


class _Search:
    """The search for the texts that follow one prompt."""

    def __init__(
        self,
        model: LanguageModel,
        prompt: Sequence[int],
        beams: Beams,
        sampling: Sampling,
        max_new_tokens: int,
        end_id: int,
        rules: Rules | None,
        logprobs: int | None,
    ) -> None:
        self._prompt, self._beams, self._sampling = prompt, beams, sampling
        self._max_new_tokens, self._end_id, self._logprobs = max_new_tokens, end_id, logprobs
        self._rules = rules or NoRules()
        self._branches = Branches(model, prompt)
        self._running = [_Branch(0.0, (), self._rules.start(prompt))]
        self._finished: list[_Finished] = []
        self._cut_off: list[_Finished] = []  # the best text that fulfils the rules, but could still go on

    def best(self) -> list[_Finished]:
        """The finished texts, the best first."""
        for length in range(1, self._max_new_tokens + 1):
            logits = self._branches.session.read(self._branches.unread(), last=1)[:, -1]
            self._advance(logits, length)
            if not self._running or self._is_over(length):
                break
        return self._finished or self._cut_off

    def _advance(self, logits: Any, length: int) -> None:
        """Finish texts, and choose the branches that go on, whose new part then has this length."""
        n, n_required = self._beams.n, self._rules.n_required
        by_progress: dict[int, list[_Step]] = defaultdict(list)
        for step in self._steps(logits, length):
            by_progress[n_required if step.reason else self._rules.progress(step.state)].append(step)
        leading = by_progress[n_required]
        ending = [step for step in leading[:n] if step.reason]
        going_on = {done: [step for step in steps if not step.reason] for done, steps in by_progress.items()}
        slots = shared_out(n, {done: len(steps) for done, steps in going_on.items()})
        chosen = [step for done, steps in going_on.items() for step in steps[: slots[done]]]
        chosen.sort(key=lambda step: -step.log_probability)

        tokens = self._tokens(logits, [*ending, *chosen])
        new = [
            _Finished(self._score(step.log_probability, length), text, step.reason)
            for step, text in zip(ending, tokens, strict=False)
            if step.reason
        ]
        self._finished = sorted([*self._finished, *new], key=lambda text: -text.score)[:n]
        branches = [
            _Branch(step.log_probability, text, step.state)
            for step, text in zip(chosen, tokens[len(ending) :], strict=True)
        ]
        if n_required:
            whole = [branch for branch in branches if self._rules.met(branch.state)][:1]
            cut_off = [_Finished(self._score(b.log_probability, length), b.tokens, "length") for b in whole]
            self._cut_off = sorted([*self._cut_off, *cut_off], key=lambda text: -text.score)[:1]
        self._running = branches
        if chosen:
            self._branches.fork([step.parent for step in chosen], [step.id for step in chosen])

    def _steps(self, logits: Any, length: int) -> list[_Step]:
        """The steps that the rules allow, the likeliest first: twice as many as there are beams, so that enough go on
        where some end. Where phrases are required, also the likeliest step of each branch, and those that lead to a
        phrase.
        """
        log_probs = log_softmax(logits)
        if self._sampling.looks_back:
            texts = self._branches.texts.tolist()
            log_probs = penalised(log_probs, self._sampling, texts, [len(self._prompt)] * len(texts))
        log_probs = barred(log_probs, [self._rules.barred(branch.state) for branch in self._running])
        ids, values = largest(log_probs, 2 * self._beams.n)
        before = np.array([branch.log_probability for branch in self._running])
        best = np.argsort(-(values + before[:, None]), axis=None, kind="stable")[: 2 * self._beams.n]
        pairs = {(place // ids.shape[1], int(ids.flat[place])) for place in best.tolist()}
        if self._rules.n_required:
            for row, branch in enumerate(self._running):
                pairs |= {
                    (row, id) for id in (int(ids[row, values[row].argmax()]), *self._rules.advances(branch.state))
                }
        rows, chosen = (np.array(each) for each in zip(*pairs, strict=True))
        totals = before[rows] + at(log_probs, rows, chosen)
        steps = [self._step(total, *pair, length) for total, pair in zip(totals.tolist(), pairs, strict=True)]
        allowed = [step for step in steps if self._is_allowed(step, length)]
        return sorted(allowed, key=lambda step: (-step.log_probability, step.parent, step.id))

    def _step(self, log_probability: float, parent: int, id: int, length: int) -> _Step:
        state = self._rules.after(self._running[parent].state, id)
        reason: Reason | None = None
        if id == self._end_id:
            reason = "model"
        elif state.stopped:
            reason = "stop"
        elif length == self._max_new_tokens:
            reason = "length"
        return _Step(log_probability, parent, id, state, reason)

    def _is_allowed(self, step: _Step, length: int) -> bool:
        """Whether the text fulfils the rules, or can still do so within the length."""
        if step.log_probability == -math.inf:
            return False
        if step.reason == "stop":
            written = [token[0] for token in self._running[step.parent].tokens]
            return self._rules.fulfilled(self._prompt, [*written, step.id])
        if step.reason:
            return self._rules.met(step.state)
        return self._rules.n_required - self._rules.progress(step.state) <= self._max_new_tokens - length

    def _tokens(self, logits: Any, steps: Sequence[_Step]) -> list[tuple[_Report, ...]]:
        """The new tokens of the texts after these steps. The end token is none."""
        reports: list[_Report] = [()] * len(steps)
        if self._logprobs is not None and steps:
            ids = np.array([step.id for step in steps])
            logprobs, likeliest = log_probabilities(logits[[s.parent for s in steps]], ids, self._logprobs)
            reports = [(logprob, likeliest.of_row(i)) for i, logprob in enumerate(logprobs.tolist())]
        texts = []
        for step, report in zip(steps, reports, strict=True):
            before = self._running[step.parent].tokens
            texts.append(before if step.id == self._end_id else (*before, (step.id, *report)))
        return texts

    def _score(self, log_probability: float, length: int) -> float:
        penalty: float = length**self._beams.length_penalty
        return log_probability / penalty

    def _is_over(self, length: int) -> bool:
        """Whether the finished texts stay, because no branch can become better or because that is not waited for."""
        if len(self._finished) < self._beams.n:
            return False
        to_the_end = self._beams.early_stopping == "never" and self._beams.length_penalty > 0
        best = self._score(self._running[0].log_probability, self._max_new_tokens if to_the_end else length)
        return self._beams.early_stopping is True or best <= self._finished[-1].score


def shared_out(n: int, sizes: Mapping[int, int]) -> dict[int, int]:
    """How many of n beams each bank gets. It has so many candidates as `sizes` says.

    All banks get the same, as far as they have candidates. The higher a bank, the earlier it gets what is left.
    """
    banks = sorted((bank for bank in sizes if sizes[bank]), reverse=True)
    slots = dict.fromkeys(sizes, 0)
    for bank in banks[:n]:
        slots[bank] = min(sizes[bank], max(1, n // len(banks)))
    for bank in banks:
        slots[bank] += min(sizes[bank] - slots[bank], n - sum(slots.values()))
    return slots
