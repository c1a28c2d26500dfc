"""Tests of lm/system/processes.py."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
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


class Summing:
    """Remembers the sum of what it has seen."""

    def __init__(self, start: int) -> None:
        self.sum = start

    def __call__(self, x: int) -> int:
        self.sum += x
        return self.sum


class OddError(Exception):
    """Made of one argument, with another message, as errors that cross a pipe must be able to be."""

    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.x = x


def refuse_odd(x: int) -> int:
    if x % 2:
        raise OddError(x)
    return x


class DyingAt:
    """Ends its process, without a word, at one item."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal

    def __call__(self, x: int) -> int:
        if x == self.fatal:
            os._exit(3)
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
def test_each_process_remembers_its_own_items(n_processes: int) -> None:
    # Item i goes to process i % n_processes, each of which starts with a copy of the function.
    results = list(map_in_order(Summing(100), range(10), n_processes))
    assert results == [100 + sum(range(i % n_processes, i + 1, n_processes)) for i in range(10)]


def test_one_process_is_this_one() -> None:
    seen: list[int] = []

    def remember(x: int) -> int:  # which no other process could import
        seen.append(x)
        return os.getpid()

    assert list(map_in_order(remember, range(3), 1)) == [os.getpid()] * 3
    assert seen == [0, 1, 2]


def test_several_processes_are_others_that_ctrl_c_does_not_reach() -> None:
    pids, groups = zip(*map_in_order(process_of, range(6), 3), strict=True)
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    assert os.getpgrp() not in groups  # a terminal interrupts the processes of one group


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
    sizes = [3_000_000 + i for i in range(8)]
    assert [len(result) for result in map_in_order(bytes, sizes, 2)] == sizes


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_reaches_the_caller_as_it_is_after_the_results_before_it(n_processes: int) -> None:
    results = map_in_order(refuse_odd, [0, 2, 4, 6, 8, 7, 10], n_processes)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(OddError) as caught:
        next(results)
    assert caught.value.x == 7


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


@pytest.mark.parametrize("fatal", [0, 5, 9])  # the first item of a process, one in between, its last one
def test_the_death_of_a_process_is_an_error(fatal: int) -> None:
    with pytest.raises(ChildProcessError, match="a process of this run has died"):
        list(map_in_order(DyingAt(fatal), range(10), 2))


@with_waitid
@pytest.mark.parametrize("n_sent", [1, 2, 4, 5])
def test_the_death_of_a_process_is_an_error_when_it_is_noticed_by_sending(n_sent: int) -> None:
    def items() -> Iterator[int]:
        yield from range(n_sent)
        wait_for_a_death()
        yield from range(n_sent, 10)

    with pytest.raises(ChildProcessError, match="a process of this run has died"):
        list(map_in_order(DyingAt(0), items(), 2))


@with_waitid
def test_the_death_of_a_process_in_the_middle_of_an_answer_is_an_error() -> None:
    def items() -> Iterator[int]:
        yield 0
        wait_for_a_death()

    with pytest.raises(ChildProcessError, match="a process of this run has died"):
        list(map_in_order(die_while_answering, items(), 2))


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
for _ in range(3):
    next(results)
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
    [(0, 1), (2**25, 1), (2**26 - 1, 1), (2**26, 2), (3 * 2**25, 3), (2**27, 4), (2**27 + 2**25, 4), (2**40, 4)],
)
def test_golden_numbers_of_processes_on_four_cores(
    n_bytes: int, n_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One for each 32 MiB: less than that is read before another process has started.
    monkeypatch.setattr(processes, "n_cores", lambda: 4)
    assert n_processes_for(n_bytes) == n_processes


def test_there_is_a_core() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
