"""Saves that do not stop training: a thread writes them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Saver:
    """Writes in a thread, one save after another. An error of a save is raised by the next call.

    As a context manager it waits, at its end, until everything is written.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write, once the save before is written. What is written must not change meanwhile."""
        self.wait()
        self._last = self._thread.submit(write)

    def check(self) -> None:
        """Raise the error of a save that has failed; do not wait for one that is being written."""
        if self._last is not None and self._last.done():
            self.wait()

    def wait(self) -> None:
        """Wait until everything is written."""
        last, self._last = self._last, None
        if last is not None:
            last.result()
