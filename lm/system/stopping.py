"""Requests to stop: a program that gets one finishes the work in hand first."""

import signal
from typing import Self


class StopRequest:
    """While the block runs, Ctrl-C and SIGTERM only set `made`, so that work in hand can come to an end.

    A second Ctrl-C interrupts at once. A second SIGTERM does not: whoever ends a group of processes sends one to `dvc`
    too, whose end sends another to its stage.
    """

    made = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, signum: int, frame: object) -> None:
        if self.made and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.made = True
