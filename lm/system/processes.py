"""Work on several cores: processes apply a function to items, and the results come in order."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from lm.system.memory import keep_freed_memory

Result = TypeVar("Result")

_BYTES_A_PROCESS = 2**24
_AHEAD = 2  # items that a process has at a time, so that it does not wait for the next item


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_processes_for(n_bytes: int) -> int:
    """How many processes should read `n_bytes` of text: no more than save the time that their start takes."""
    return max(1, min(n_cores(), n_bytes // _BYTES_A_PROCESS))


def map_in_order(
    function: Callable[[Any], Result], items: Iterable[Any], n_processes: int, ask_at_end: bool = False
) -> Iterator[Result]:
    """The results of `function` for the items, in the order of the items.

    This process works too, from the first moment on, and starts `n_processes` - 1 others. The process that is free
    first gets the next item. Each has its own copy of the function. The function must be importable, and a copy may
    keep state. If `ask_at_end`, every process gets None after all items, and these results come last. Other processes
    end when this process ends, even if killed.

    `multiprocessing` does not start them, because it either copies the locks of this process's threads (fork) or
    imports the main module once more (spawn), which takes longer than everything else.

    Raises:
        Exception: any error of the function; ChildProcessError when a process dies.
    """
    source = iter(items)
    tasks: deque[_Task] = deque()  # in the order of the items, from the one whose result comes next

    def next_task() -> _Task | None:
        if len(tasks) < _AHEAD * n_processes:
            for item in source:
                tasks.append(_Task(item))
                return tasks[-1]
        return None

    workers: list[_Worker] = []
    try:
        if n_processes > 1:
            copy = bytes(ForkingPickler.dumps(function))
            workers.extend(_Worker(copy) for _ in range(n_processes - 1))
        while True:
            _receive(workers, timeout=0)
            for worker in workers:
                while worker.has_room and (task := next_task()):
                    worker.send(task)
            if tasks and tasks[0].answer:
                yield tasks.popleft().result()
            elif task := next_task():
                task.answer = _answer(function, task.item)
            elif tasks:
                _receive(workers, timeout=None)
            else:
                break
        if ask_at_end:
            last = [worker.send(_Task(None)) for worker in workers if worker.is_up]
            yield function(None)
            for task in last:
                while not task.answer:
                    _receive(workers, timeout=None)
                yield task.result()
    finally:
        for worker in workers:
            worker.end()


@dataclass
class _Task:
    """An item, and what the function returned or raised, once that is known."""

    item: Any
    answer: tuple[Any, Exception | None] | None = None

    def result(self) -> Any:
        assert self.answer
        result, error = self.answer
        if error is not None:
            raise error
        return result


class _Worker:
    """A process that gets items and sends results through a pipe.

    Attributes:
        is_up: whether it has started and has its copy of the function. Until then it gets no items, so that nobody
            waits for it.
    """

    def __init__(self, copy: bytes) -> None:
        self.pipe, theirs = Pipe()
        self.is_up = False
        self._copy, self._tasks = copy, deque[_Task]()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from lm.system.processes import work; work()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            process_group=0,  # Ctrl-C must reach only the process that started this one
        )
        theirs.close()

    @property
    def has_room(self) -> bool:
        return self.is_up and len(self._tasks) < _AHEAD

    def send(self, task: _Task) -> _Task:
        self._tasks.append(task)
        try:
            self.pipe.send(task.item)
        except ConnectionError:
            raise self._death() from None
        return task

    def receive(self) -> None:
        """Take the next answer; the first one only says that the process has started."""
        try:
            answer = self.pipe.recv()
            if not self.is_up:
                self.pipe.send_bytes(self._copy)
        except (EOFError, OSError):
            raise self._death() from None
        if self.is_up:
            self._tasks.popleft().answer = answer
        self.is_up = True

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.wait()

    def _death(self) -> ChildProcessError:
        return ChildProcessError(
            f"a process of this run has died with status {self._process.wait()}, perhaps because memory ran out"
        )


def _receive(workers: list[_Worker], timeout: float | None) -> None:
    """Take an answer from each process that has one; with the timeout None, wait for the first."""
    ready = wait([worker.pipe for worker in workers], timeout) if workers else []
    for worker in workers:
        if worker.pipe in ready:
            worker.receive()


def _answer(function: Callable[[Any], Any], item: Any) -> tuple[Any, Exception | None]:
    try:
        return function(item), None
    except Exception as error:
        return None, error


def work() -> None:
    """Send the result of each item until the other process closes the pipe or dies. `argv[1]` is the descriptor."""
    keep_freed_memory()
    pipe = Connection(int(sys.argv[1]))
    sending = Thread()
    try:
        pipe.send(None)
        function = pipe.recv()
        while True:
            answer = ForkingPickler.dumps(_answer(function, pipe.recv()))
            if sending.ident:
                sending.join()
            # A pipe holds less than a large answer. So a thread sends it, and the next item need not wait.
            sending = Thread(target=_send, args=[pipe, answer], daemon=True)
            sending.start()
    except (EOFError, ConnectionError):
        return


def _send(pipe: Connection, data: memoryview) -> None:
    with suppress(ConnectionError):  # the other process has no use for it any more
        pipe.send_bytes(data)
