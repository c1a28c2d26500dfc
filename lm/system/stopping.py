"""Requests to stop: a program that gets one first finishes its current work."""

import errno
import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self, TextIO


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a program to stop: Ctrl-C, SIGTERM, and that of a closed terminal unless it is ignored."""
    ignores_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup does
    return [signal.SIGINT, signal.SIGTERM, *([] if ignores_terminal else [signal.SIGHUP])]


def leave_terminal(signum: int) -> None:
    """If the terminal is closed, print to nothing from now on: printing to it is an error."""
    if signum == signal.SIGHUP:
        _print_to_nothing()


class UntilClosed(io.TextIOBase):
    """A stream that prints to nothing once its terminal is closed, and then sends this process the signal that says so.

    From that moment printing is an error. The system tells the shell first, so its signal may come later, or never.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with _while_open():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        with _while_open():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The number of the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream, by which a progress bar chooses its characters."""
        return self._stream.encoding


@contextmanager
def _while_open() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        _print_to_nothing()
        signal.raise_signal(signal.SIGHUP)


def _print_to_nothing() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


class StopRequest:
    """While the block runs, these signals only set `made`, so that the current work can be finished.

    A second Ctrl-C interrupts at once. A second SIGTERM does not, because one request can send two to a stage: whoever
    ends a group of processes also ends `dvc`, and `dvc` then ends its stage.
    """

    made = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._request) for number in stop_signals()}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        leave_terminal(signum)
        if self.made and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.made = True
