"""Tests of lm/system/processes.py."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from lm.system import processes
from lm.system.processes import map_in_order, n_cores, n_processes_for

ROOT = Path(__file__).parents[2]

# Functions for other processes stand here, where those can import them: so this module imports little.


def square(x: int) -> int:
    return x * x


def process_of(item: object) -> tuple[int, int]:
    return os.getpid(), os.getpgrp()


def own_process_and_bytes(n: int) -> tuple[int, bytes]:
    return os.getpid(), bytes(n)


class Summing:
    """Remembers the sum of what its process has seen, and tells it when it is given None."""

    def __init__(self, start: int) -> None:
        self.sum = start

    def __call__(self, x: int | None) -> tuple[int, int]:
        self.sum += x or 0
        return os.getpid(), self.sum


class OddError(Exception):
    """Made of one argument, with another message, as errors that cross a pipe must be able to be."""

    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.x = x


def refuse_odd(x: int) -> int:
    if x % 2:
        raise OddError(x)
    return x


class FailingElsewhere:
    """Does its work in this process; in others it raises an error, or ends the process, at one of their items."""

    def __init__(self, at: int, by_death: bool) -> None:
        self.here, self.left, self.by_death = os.getpid(), at, by_death

    def __call__(self, x: int) -> int:
        if os.getpid() != self.here:
            self.left -= 1
            if self.left < 0 and self.by_death:
                os._exit(3)
            if self.left < 0:
                raise OddError(x)
        return x


def die_while_answering(x: int) -> bytes:
    threading.Timer(0.5, os._exit, [3]).start()  # when the pipe, which nobody empties, has long been full
    return bytes(10_000_000)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """After each test, however it ended, this process has no other children than before."""
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    """The processes that this one has started and not yet waited for, where the system tells."""
    return {child for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()}


def wait_for_a_death() -> None:
    """Wait until a child has died; whoever asks for its status will still be told."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


with_waitid = pytest.mark.skipif(not hasattr(os, "waitid"), reason="this system cannot wait for any child")


@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize("n_items", [0, 1, 5, 100])
def test_results_come_in_the_order_of_the_items(n_processes: int, n_items: int) -> None:
    assert list(map_in_order(square, iter(range(n_items)), n_processes)) == [x * x for x in range(n_items)]


@pytest.mark.parametrize("n_processes", [1, 2, 3])
def test_each_process_remembers_its_own_items_and_is_asked_once_at_the_end(n_processes: int) -> None:
    seen: set[int] = set()
    items: list[int] = []

    def until_all_work() -> Iterator[int]:
        while len(seen) < n_processes or len(items) < 10:
            items.append(len(items))
            yield items[-1]

    results = map_in_order(Summing(100), until_all_work(), n_processes, ask_at_end=True)
    sums: dict[int, list[int]] = {}
    for pid, result in results:
        seen.add(pid)
        sums.setdefault(pid, []).append(result)
    assert len(sums) == n_processes
    assert sum(len(of_process) for of_process in sums.values()) == len(items) + n_processes
    # Each starts with a copy of the function, and what it says at the end is what it said last.
    assert all(of_process[-1] == of_process[-2] for of_process in sums.values())
    assert sum(of_process[-1] - 100 for of_process in sums.values()) == sum(items)


def test_one_process_is_this_one() -> None:
    seen: list[int] = []

    def remember(x: int) -> int:  # which no other process could import
        seen.append(x)
        return os.getpid()

    assert list(map_in_order(remember, range(3), 1)) == [os.getpid()] * 3
    assert seen == [0, 1, 2]


def test_several_processes_are_this_one_and_others_that_ctrl_c_does_not_reach() -> None:
    group_of: dict[int, int] = {}
    for pid, group in map_in_order(process_of, iter(int, 1), 3):
        group_of[pid] = group
        if len(group_of) == 3:
            break
    assert group_of.pop(os.getpid()) == os.getpgrp()
    assert os.getpgrp() not in group_of.values()  # a terminal interrupts the processes of one group


def test_the_first_result_does_not_wait_for_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "wait", lambda pipes, timeout: [])  # as if they never started
    assert next(map_in_order(square, [3, 4], 2)) == 9


@pytest.mark.parametrize("n_processes", [1, 2])
def test_items_are_taken_only_a_little_ahead(n_processes: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for x in range(20):
            taken.append(x)
            yield x

    for n_received, _ in enumerate(map_in_order(square, items(), n_processes), start=1):
        assert len(taken) <= n_received + processes._AHEAD * n_processes


def test_results_larger_than_a_pipe_holds_come_whole() -> None:
    of_others: list[int] = []

    def sizes() -> Iterator[int]:
        size = 3_000_000
        while len(of_others) < 5:
            size += 1
            yield size

    sent = 3_000_000
    for pid, result in map_in_order(own_process_and_bytes, sizes(), 2):
        sent += 1
        assert len(result) == sent
        of_others += [pid] if pid != os.getpid() else []


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_reaches_the_caller_as_it_is_after_the_results_before_it(n_processes: int) -> None:
    results = map_in_order(refuse_odd, [0, 2, 4, 6, 8, 7, 10], n_processes)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(OddError) as caught:
        next(results)
    assert caught.value.x == 7


def test_an_error_in_another_process_reaches_the_caller_after_the_results_before_it() -> None:
    results = map_in_order(FailingElsewhere(at=2, by_death=False), count(), 2)
    given_out: list[int] = []
    with pytest.raises(OddError) as caught:
        given_out.extend(results)
    assert given_out == list(range(caught.value.x))


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_of_the_items_reaches_the_caller(n_processes: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OddError(5)

    with pytest.raises(OddError):
        list(map_in_order(square, items(), n_processes))


def test_a_function_that_no_process_can_be_sent_is_an_error() -> None:
    with pytest.raises(Exception, match=r"pickle|local object"):  # its type differs between versions of Python
        list(map_in_order(lambda x: x, range(3), 2))


@pytest.mark.parametrize("at", [0, 3])  # its first item, a later one
def test_the_death_of_a_process_is_an_error(at: int) -> None:
    with pytest.raises(ChildProcessError, match="a process of this run has died with status 3"):
        list(map_in_order(FailingElsewhere(at, by_death=True), count(), 2))


@pytest.fixture
def worker() -> Iterator[processes._Worker]:
    """A process that has its function and waits for an item."""
    worker = processes._Worker(bytes(ForkingPickler.dumps(die_while_answering)))
    worker.receive()
    yield worker
    worker.end()


def test_the_death_of_a_process_is_an_error_when_it_is_noticed_by_sending(worker: processes._Worker) -> None:
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(ChildProcessError, match="a process of this run has died"):
        worker.send(processes._Task(0))


@with_waitid
def test_the_death_of_a_process_in_the_middle_of_an_answer_is_an_error(worker: processes._Worker) -> None:
    worker.send(processes._Task(0))
    wait_for_a_death()
    with pytest.raises(ChildProcessError, match="a process of this run has died"):
        worker.receive()


def test_leaving_early_leaves_no_process_behind() -> None:
    before = children()
    for result in map_in_order(square, range(1_000), 2):
        assert result == 0
        break
    assert children() <= before


def test_results_that_nobody_asks_for_start_no_process() -> None:
    before = children()
    results = map_in_order(square, range(10), 2)
    assert children() == before
    del results


# A shell's background job ignores SIGINT, and what it starts does too unless told otherwise.
KILLED = """
import signal
import time
from lm.system.processes import map_in_order
from tests.system.test_processes import process_of

signal.signal(signal.SIGINT, signal.default_int_handler)
results = map_in_order(process_of, iter(int, 1), 3)
seen = set()
while len(seen) < 3:
    seen.add(next(results))
print("working", flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_processes_end_with_the_one_that_started_them_however_that_ends(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "working\n"
        script.send_signal(how)
        # All of them have this pipe as their output: it ends with the last one. If none ends, nor would this test.
        rest, _ = script.communicate(timeout=60)
    assert rest == ""
    assert script.returncode == -how


WITHOUT_GUARD = """
from operator import neg
from lm.system.processes import map_in_order
print(list(map_in_order(neg, range(4), 2)))
"""


def test_a_script_need_not_be_importable(tmp_path: Path) -> None:
    # Spawned processes of multiprocessing would import it, and start more of them in turn.
    (tmp_path / "script.py").write_text(WITHOUT_GUARD)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(script, env=env, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0, -1, -2, -3]\n"


@pytest.mark.parametrize(
    ("n_bytes", "n_processes"),
    [(0, 1), (2**24, 1), (2**25 - 1, 1), (2**25, 2), (3 * 2**24, 3), (2**26, 4), (2**26 + 2**24, 4), (2**40, 4)],
)
def test_golden_numbers_of_processes_on_four_cores(
    n_bytes: int, n_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One for each 16 MiB: less than that is read before another process has started.
    monkeypatch.setattr(processes, "n_cores", lambda: 4)
    assert n_processes_for(n_bytes) == n_processes


def test_there_is_a_core() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
