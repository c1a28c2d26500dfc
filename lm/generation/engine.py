"""One model for many: what several people ask of it at the same time is written together, by one thread."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from lm.generation.batch import Batch, Text
from lm.generation.events import End, Event
from lm.generation.session import LanguageModel


class FullError(Exception):
    """So many texts are asked for already that there is no place for more."""


class ClosedError(Exception):
    """The engine has been closed before the texts were written."""


class Job:
    """Texts that are asked for together. They begin together, as soon as there is room for all.

    Attributes:
        texts: each with its row: the number that its events have.
        happened: is called in the thread of the engine with what a step brings for these texts, or with the error that
            has ended them. It must return soon and raise nothing.
    """

    def __init__(self, texts: Sequence[Text], happened: Callable[[list[Event] | Exception], object]) -> None:
        self.texts, self.happened = list(texts), happened
        self.n_left = len(self.texts)


class Engine:
    """A thread that writes the texts of all jobs in one `Batch`. Each is the text that `generate` writes alone.

    After a step, texts that have ended make room for those that wait, the oldest job first.
    """

    def __init__(self, model: LanguageModel, *, max_texts: int, max_waiting: int) -> None:
        """
        Args:
            model: writes.
            max_texts: how many texts it writes at once.
            max_waiting: how many more may wait.
        """
        self.max_texts, self._most = max_texts, max_texts + max_waiting
        self._model = model
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._jobs: dict[int, tuple[Job, int]] = {}  # for a row of the batch: whose text it is, and its row there
        self._cancelled: set[Job] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
        self._thread.start()

    @property
    def n_texts(self) -> int:
        """How many texts are written or wait."""
        with self._changed:
            return len(self._jobs) + sum(len(job.texts) for job in self._waiting)

    def submit(self, job: Job) -> None:
        """Let its texts be written.

        Raises:
            FullError: when too many wait already.
            ClosedError: when the engine is closed.
        """
        assert 1 <= len(job.texts) <= self.max_texts, f"{len(job.texts)} texts for {self.max_texts} places"
        with self._changed:
            if self._is_closed:
                raise ClosedError
            if self.n_texts + len(job.texts) > self._most:
                raise FullError
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Let nobody wait for these texts, and make their places free. A job that has ended stays as it is."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            elif job.n_left:
                self._cancelled.add(job)

    def close(self) -> None:
        """End all jobs with a `ClosedError`, and the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _work(self) -> None:
        batch, next_row = Batch(self._model), 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._waiting or self._jobs)
                if self._is_closed:
                    self._fail([*self._running(), *self._waiting], ClosedError())
                    self._jobs.clear()
                    self._waiting.clear()
                    return
                gone = {row for row, (job, _) in self._jobs.items() if job in self._cancelled}
                self._cancelled.clear()
                for row in gone:
                    del self._jobs[row]
                joining: list[Text] = []
                while self._waiting and len(self._jobs) + len(self._waiting[0].texts) <= self.max_texts:
                    job = self._waiting.popleft()
                    for text in job.texts:
                        self._jobs[next_row] = job, text.row
                        text.row, next_row = next_row, next_row + 1
                        joining.append(text)
            try:
                batch.leave(gone)
                batch.join(joining)
                events = batch.step() if batch.texts else []
            except Exception as error:  # too little memory, for example; those who come later must not suffer from it
                batch = Batch(self._model)
                with self._changed:
                    self._fail(self._running(), error)
                    self._jobs.clear()
                continue
            self._deliver(events)

    def _deliver(self, events: Sequence[Event]) -> None:
        by_job: dict[Job, list[Event]] = {}
        with self._changed:
            for event in events:
                job, row = self._jobs[event.row]
                by_job.setdefault(job, []).append(event._replace(row=row))
                if isinstance(event, End):
                    del self._jobs[event.row]
                    job.n_left -= 1
        for job, of_job in by_job.items():
            job.happened(of_job)

    def _running(self) -> list[Job]:
        return list(dict.fromkeys(job for job, _ in self._jobs.values()))

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            job.n_left = 0
            job.happened(error)
