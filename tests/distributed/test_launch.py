"""Tests of lm/distributed/launch.py, with little programs in place of trainers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lm.distributed import launch as module
from lm.distributed.launch import LOST_MEMBER, launch, team_size
from tests.project import ROOT

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment of grace, for tests in which a process never ends by itself; in the others it ends when it can."""
    monkeypatch.setattr(module, "_GRACE_S", 0.3)


def launch_program(program: str, *arguments: str | Path, n_processes: int = 2) -> None:
    """Launch a program that knows its rank."""
    start = "import os, signal, sys, time; from pathlib import Path; rank = int(os.environ['RANK'])\n"
    # -S: without site-packages Python starts in a tenth of the time.
    launch([sys.executable, "-S", "-c", start + program, *map(str, arguments)], n_processes)


def is_running(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# Each member writes its process id to a file named by its rank, the leader once it sees the other's.
MEET = """
here = Path(sys.argv[1])
while rank == 0 and not (here / '1').exists(): time.sleep(0.01)
(here / f'{rank}.draft').write_text(str(os.getpid()))
(here / f'{rank}.draft').rename(here / str(rank))
while rank == 1 and not (here / '0').exists(): time.sleep(0.01)
"""


def members(folder: Path) -> list[int]:
    """The process ids of two members that have met."""
    deadline = time.monotonic() + 60
    while not (folder / "0").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [int((folder / rank).read_text()) for rank in "01"]


def test_every_process_is_told_its_place(tmp_path: Path) -> None:
    launch_program(f"Path(sys.argv[1], str(rank)).write_text(' '.join(os.environ[n] for n in {PLACE}))", tmp_path)
    first, second = ((tmp_path / rank).read_text().split() for rank in "01")
    assert first[:5] == ["0", "0", "2", "2", "127.0.0.1"]
    assert second[:5] == ["1", "1", "2", "2", "127.0.0.1"]
    assert first[5] == second[5]
    assert 1024 <= int(first[5]) < 2**16
    assert [name for name in PLACE if name in os.environ] == []


# The leader, once the other has connected, to which nobody has answered yet; the port is taken all the while.
PORT = """
import socket
at = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
if rank:
    with socket.create_connection(at) as connection: assert connection.recv(9) == b'welcome'
else:
    try: socket.create_server(at)
    except OSError: pass
    else: sys.exit('error: the port is free')
    connection, _ = socket.socket(fileno=int(os.environ['STORYLINE_LISTENER'])).accept()
    connection.sendall(b'welcome')
"""


def test_the_leader_gets_the_socket_that_listens_where_the_others_ask() -> None:
    launch_program(PORT)


def test_nobody_listens_where_a_leader_has_died(tmp_path: Path) -> None:
    ask = """
import socket
while True:
    try: socket.create_connection((os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))).close()
    except ConnectionRefusedError: break
(here / 'refused').touch()
"""
    with pytest.raises(ChildProcessError, match=r"^process 0 of 2 was killed by SIGKILL"):
        launch_program(f"{MEET}\nif not rank: os.kill(os.getpid(), 9)\n{ask}", tmp_path)
    assert (tmp_path / "refused").exists()


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert team_size() == 1
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert team_size() == 3


def test_when_all_succeed_the_leader_alone_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    launch_program("print('out', rank); print('error', rank, file=sys.stderr)", n_processes=3)
    assert capfd.readouterr() == ("out 0\n", "error 0\n")


def test_it_ends_when_the_last_process_has(tmp_path: Path) -> None:
    launch_program("if rank: time.sleep(0.2); Path(sys.argv[1], 'late').touch()", tmp_path)
    assert (tmp_path / "late").exists()


def test_an_error_that_all_share_is_shown_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        launch_program("sys.exit('error: a mistake')", n_processes=3)
    assert caught.value.code == 1
    assert capfd.readouterr() == ("", "error: a mistake\n")


@pytest.mark.parametrize("first", [0, 1])
def test_the_leader_s_error_is_shown_and_not_what_follows_from_it(
    capfd: pytest.CaptureFixture[str], first: int
) -> None:
    program = f"time.sleep(0.1 * (rank != {first})); print(rank, file=sys.stderr); sys.exit([3, {LOST_MEMBER}][rank])"
    with pytest.raises(SystemExit) as caught:
        launch_program(program)
    assert caught.value.code == 3
    assert capfd.readouterr().err == "0\n"


def test_another_s_error_is_shown_when_the_leader_only_knows_that_one_is_lost(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = f"rank and print('error: mine', rank, file=sys.stderr); sys.exit([{LOST_MEMBER}, {LOST_MEMBER}, 1][rank])"
    with pytest.raises(SystemExit) as caught:
        launch_program(program, n_processes=3)
    assert caught.value.code == 1
    assert capfd.readouterr().err == "error: mine 2\n"


@pytest.mark.parametrize("told", ["error: lost the others: timeout", ""])
def test_members_that_all_know_only_of_a_loss_still_fail_and_one_says_so(
    capfd: pytest.CaptureFixture[str], told: str
) -> None:
    program = f"time.sleep(0.2 * rank); rank and {bool(told)} and print('{told}', file=sys.stderr)"
    with pytest.raises(SystemExit) as caught:
        launch_program(f"{program}; sys.exit({LOST_MEMBER})")
    assert caught.value.code == LOST_MEMBER
    assert capfd.readouterr().err == (told or "error: the processes have lost each other") + "\n"


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("leader", ["time.sleep(60)", f"sys.exit({LOST_MEMBER})"], ids=["hangs", "notices"])
@pytest.mark.parametrize(
    ("name", "hint"), [("SIGKILL", ", perhaps because memory ran out"), ("SIGTERM", "")], ids=["killed", "terminated"]
)
def test_a_process_that_a_signal_ends_is_named_with_it(tmp_path: Path, leader: str, name: str, hint: str) -> None:
    program = f"{MEET}\nif rank: os.kill(os.getpid(), signal.{name})\n{leader}"
    with pytest.raises(ChildProcessError, match=rf"^process 1 of 2 was killed by {name}{hint}$"):
        launch_program(program, tmp_path)
    assert not any(map(is_running, members(tmp_path)))


@pytest.mark.usefixtures("short_grace")
def test_a_killed_leader_is_named_too_and_the_others_do_not_outlive_it(tmp_path: Path) -> None:
    with pytest.raises(
        ChildProcessError, match=r"^process 0 of 2 was killed by SIGKILL, perhaps because memory ran out$"
    ):
        launch_program(f"{MEET}\nif not rank: os.kill(os.getpid(), 9)\ntime.sleep(60)", tmp_path)
    assert not any(map(is_running, members(tmp_path)))


@pytest.mark.usefixtures("short_grace")
def test_others_that_hang_when_one_has_failed_are_ended_after_a_time_of_grace(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        launch_program(f"{MEET}\nif rank: sys.exit('error: mine')\ntime.sleep(60)", tmp_path)
    assert caught.value.code == 1
    assert capfd.readouterr().err == "error: mine\n"
    assert not any(map(is_running, members(tmp_path)))


LAUNCHER = """
import sys
from lm.distributed.launch import launch
try:
    launch([sys.executable, "-S", "-c", *sys.argv[1:]], 2)
except KeyboardInterrupt:
    sys.exit(17)
"""
# A leader that saves when it is asked to, and workers that write down whatever they are asked.
ASKED = f"""
import os, signal, sys, time; from pathlib import Path; rank = int(os.environ['RANK'])
def asked(number, frame):
    Path(sys.argv[1], f'asked {{rank}}').write_text(str(number))
    if sys.argv[2] == 'obeys': sys.exit(130)
signal.signal(signal.SIGTERM, asked); signal.signal(signal.SIGINT, asked)
parent = os.getppid()
{MEET}
while os.getppid() == parent and not (rank and Path(sys.argv[1], 'asked 0').exists()): time.sleep(0.01)
if sys.argv[2] != 'obeys': time.sleep(60)
"""


@contextmanager
def launcher(folder: Path, leader: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that launches two, and the ids of those two."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, ASKED, str(folder), leader], cwd=ROOT)
    try:
        yield process, members(folder)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_the_leader_alone_and_interrupts_when_it_has_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    with launcher(tmp_path, "obeys") as (process, pids):
        process.send_signal(number)
        assert process.wait(60) == 17
    assert (tmp_path / "asked 0").read_text() == str(int(signal.SIGTERM))
    assert not (tmp_path / "asked 1").exists()
    assert not any(map(is_running, pids))


def test_a_second_ctrl_c_interrupts_at_once_and_a_second_sigterm_does_not(tmp_path: Path) -> None:
    asked = tmp_path / "asked 0"
    with launcher(tmp_path, "ignores") as (process, pids):
        process.terminate()
        deadline = time.monotonic() + 60
        while not asked.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        asked.unlink()
        process.terminate()
        time.sleep(0.3)
        assert all(map(is_running, [process.pid, *pids]))
        assert not asked.exists()  # the leader is asked once
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 17
    assert not any(map(is_running, pids))


@pytest.mark.usefixtures("short_grace")
def test_a_leader_that_is_stopped_as_it_starts_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        launch_program(f"{MEET}\nif not rank: os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)", tmp_path)
    assert not any(map(is_running, members(tmp_path)))


def test_ctrl_c_in_a_terminal_does_not_reach_the_members_directly(tmp_path: Path) -> None:
    launch_program("Path(sys.argv[1], str(rank)).write_text(f'{os.getpid()} {os.getpgid(0)}')", tmp_path)
    for rank in "01":
        pid, group = (tmp_path / rank).read_text().split()
        assert pid == group


def test_signals_are_handled_as_before_once_it_is_over() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    launch_program("")
    with pytest.raises(SystemExit):
        launch_program("sys.exit(1)")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
