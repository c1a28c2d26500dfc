"""Tests of lm/generation/engine.py."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lm.generation.engine import ClosedError, Engine, FullError, Job
from lm.generation.events import End, Event
from lm.generation.generate import generate, texts_to_write
from lm.generation.sampling import Sampling
from lm.model.reader import Reader
from tests.small import random_model

VOCAB_SIZE, END_ID = 23, 0
READER = Reader(random_model(VOCAB_SIZE), "fp32")
SAMPLINGS = [Sampling(), Sampling(temperature=0.5), Sampling(top_k=4, presence_penalty=1.0)]


class Slow:
    """A model that waits for a permission before each step of its sessions."""

    def __init__(self) -> None:
        self.config, self.steps = READER.config, queue.SimpleQueue[None | Exception]()

    def session(self, batch_size: int) -> Any:
        session = READER.session(batch_size)
        read = session.read

        def patient(ids: Any, last: int | None = None) -> Any:
            error = self.steps.get(timeout=60)
            if error is not None:
                raise error
            return read(ids, last)

        session.read = patient  # type: ignore[method-assign]
        return session


class Answer:
    """A job, and what happens to it."""

    def __init__(self, seed: int, n_tokens: int = 12, samples: int = 1) -> None:
        self.arguments: dict[str, Any] = {
            "prompts": [[0, 1 + seed % 20], [0, 3, 4]][: 1 + seed % 2],
            "sampling": SAMPLINGS[seed % 3],
            "max_new_tokens": n_tokens,
            "end_id": END_ID,
            "seed": seed,
            "samples": samples,
            "logprobs": 2 if seed % 4 == 0 else None,
        }
        self.came = queue.SimpleQueue[list[Event] | Exception]()
        self.job = Job(texts_to_write(**self.arguments), self.came.put)

    def events(self) -> Iterator[Event]:
        """All of its events, when they come."""
        left = len(self.job.texts)
        while left:
            events = self.came.get(timeout=60)
            if isinstance(events, Exception):
                raise events
            left -= sum(isinstance(event, End) for event in events)
            yield from events

    def expected(self) -> list[Event]:
        return list(generate(READER, **self.arguments))


@contextmanager
def running(model: Any, max_texts: int = 8, max_waiting: int = 100) -> Iterator[Engine]:
    engine = Engine(model, max_texts=max_texts, max_waiting=max_waiting)
    yield engine
    engine.close()
    engine.join()


def test_each_of_many_jobs_gets_the_texts_that_generate_writes() -> None:
    answers = [Answer(seed, n_tokens=5 + seed % 9, samples=1 + seed % 3) for seed in range(24)]
    with running(READER) as engine:
        for answer in answers:
            engine.submit(answer.job)
        for answer in answers:
            assert list(answer.events()) == answer.expected()
        assert engine.n_texts == 0


def test_a_job_waits_until_there_is_room_for_all_its_texts_and_too_many_are_refused() -> None:
    model = Slow()
    first, second, third = Answer(1, 2), Answer(0, 2), Answer(0, 2)  # of two texts, one and one
    with running(model, max_texts=2, max_waiting=1) as engine:
        engine.submit(first.job)
        engine.submit(second.job)
        with pytest.raises(FullError):
            engine.submit(third.job)
        for _ in range(4):
            model.steps.put(None)
        assert list(first.events()) == first.expected()
        assert list(second.events()) == second.expected()
        engine.submit(third.job)
        for _ in range(2):
            model.steps.put(None)
        assert list(third.events()) == third.expected()


def test_a_cancelled_job_says_nothing_more_and_makes_room() -> None:
    model = Slow()
    left, waiting, stays = Answer(3, 8), Answer(2, 8), Answer(6, 8)  # of two texts, one and one
    with running(model, max_texts=2, max_waiting=2) as engine:
        engine.submit(left.job)
        model.steps.put(None)
        assert len(left.came.get(timeout=60)) == 2  # type: ignore[arg-type]
        engine.submit(waiting.job)
        engine.submit(stays.job)
        engine.cancel(left.job)
        engine.cancel(waiting.job)
        for _ in range(10):
            model.steps.put(None)
        assert list(stays.events()) == stays.expected()
        assert waiting.came.empty()
        engine.cancel(stays.job)  # it has ended
        assert engine.n_texts == 0
    assert left.came.qsize() <= 1  # the step that had begun


def test_an_error_ends_the_jobs_that_it_meets_and_no_others() -> None:
    model = Slow()
    unlucky, later = Answer(2, 3), Answer(4, 3)
    with running(model) as engine:
        engine.submit(unlucky.job)
        model.steps.put(MemoryError("no memory"))
        with pytest.raises(MemoryError):
            list(unlucky.events())
        assert engine.n_texts == 0
        engine.submit(later.job)
        for _ in range(3):
            model.steps.put(None)
        assert list(later.events()) == later.expected()


def test_closing_ends_all_jobs() -> None:
    model = Slow()
    runs, waits = Answer(2, 3), Answer(4, 3)
    with running(model, max_texts=1) as engine:
        engine.submit(runs.job)
        engine.submit(waits.job)
        model.steps.put(None)
        runs.came.get(timeout=60)
        engine.close()
        model.steps.put(None)
        for answer in (runs, waits):
            with pytest.raises(ClosedError):
                list(answer.events())
        with pytest.raises(ClosedError):
            engine.submit(Answer(2).job)
