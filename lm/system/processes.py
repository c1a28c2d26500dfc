"""Work on several cores: processes apply a function to items, and the results come in order."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from lm.system.memory import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

_BYTES_A_PROCESS = 2**25
_AHEAD = 2  # items that a process has at a time, so that it does not wait for the next item


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_processes_for(n_bytes: int) -> int:
    """How many processes should read `n_bytes` of text: no more than save the time that their start takes."""
    return max(1, min(n_cores(), n_bytes // _BYTES_A_PROCESS))


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], n_processes: int) -> Iterator[Result]:
    """The results of `function` for the items, in the order of the items. Process i % n_processes works on item i.

    Each process has its own copy of the function. The function must be importable, and a copy may keep state. If
    `n_processes` is 1, this process does the work. Other processes end when this process ends, even if killed.

    `multiprocessing` does not start them, because it either copies the locks of this process's threads (fork) or
    imports the main module once more (spawn), which takes longer than everything else.

    Raises:
        Exception: any error of the function; ChildProcessError when a process dies.
    """
    if n_processes == 1:
        yield from map(function, items)
        return
    workers: list[_Worker] = []
    try:
        for _ in range(n_processes):
            workers.append(_Worker())
            workers[-1].send(function)
        waiting: deque[_Worker] = deque()
        for i, item in enumerate(items):
            if len(waiting) == _AHEAD * n_processes:
                yield waiting.popleft().receive()
            worker = workers[i % n_processes]
            worker.send(item)
            waiting.append(worker)
        while waiting:
            yield waiting.popleft().receive()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that gets items and sends results through a pipe."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from lm.system.processes import work; work()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            process_group=0,  # Ctrl-C must reach only the process that started this one
        )
        theirs.close()

    def send(self, item: object) -> None:
        try:
            self._pipe.send(item)
        except BrokenPipeError:
            raise self._death() from None

    def receive(self) -> Any:
        try:
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _death(self) -> ChildProcessError:
        return ChildProcessError(
            f"a process of this run has died with status {self._process.wait()}, perhaps because memory ran out"
        )


def work() -> None:
    """Send the result of each item until the other process closes the pipe or dies. `argv[1]` is the descriptor."""
    keep_freed_memory()
    pipe = Connection(int(sys.argv[1]))
    try:
        function = pipe.recv()
        while True:
            item = pipe.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = function(item), None
            except Exception as error:
                answer = None, error
            pipe.send(answer)
    except (EOFError, ConnectionError):
        return
