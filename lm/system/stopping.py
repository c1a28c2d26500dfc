"""Requests to stop: a program that gets one first finishes its current work."""

import signal
from typing import Self


class StopRequest:
    """While the block runs, Ctrl-C and SIGTERM only set `made`, so that the current work can be finished.

    A second Ctrl-C interrupts at once. A second SIGTERM does not, because one request can send two to a stage: whoever
    ends a group of processes also ends `dvc`, and `dvc` then ends its stage.
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
