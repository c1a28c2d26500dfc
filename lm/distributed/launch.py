"""Starts the processes that train one model together, and ends them together.

It does what `torchrun --standalone` does, and sets the same environment variables. Three things differ: it says in one
line why a run has ended, it passes a request to stop to the leader only, because the leader saves the run for all, and
it gives the leader a socket that listens already. torchrun listens itself. A port that is merely known to be free may
be taken before the leader listens there.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_GRACE_S = 10.0  # how long the others may take to end by themselves after one process has failed


# The exit status of a process that ends because it has lost another process. The lost process knows the reason.
LOST_MEMBER = 75

# The environment variable that tells the leader which file descriptor it has of the socket at MASTER_PORT.
LISTENER = "STORYLINE_LISTENER"


def team_size() -> int:
    """How many processes the launcher (ours or torchrun) has started, this one included; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch(command: Sequence[str], n_processes: int) -> None:
    """Run a command in `n_processes` processes, and wait until all have ended.

    The errors of process 0 are shown at once. The errors of another process are shown only if it is the first to fail.

    Raises:
        SystemExit: with the status of the first process that failed, when that process has said why.
        ChildProcessError: when a signal has killed a process, as the system does when memory runs out.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder, str(rank)).open("w+") for rank in range(n_processes)]  # noqa: SIM115 (closed below)
        members: list[subprocess.Popen[bytes]] = []
        handler = _passing_on(members)
        asked_by = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, handler) for number in asked_by}
        try:
            with socket.create_server(("127.0.0.1", 0)) as listener:  # the leader's lives on, and ends with it
                for rank, log in enumerate(logs):
                    member = subprocess.Popen(
                        command,
                        env=os.environ | _place(rank, n_processes, listener),
                        pass_fds=[listener.fileno()] if rank == 0 else [],
                        stdout=None if rank == 0 else subprocess.DEVNULL,
                        stderr=None if rank == 0 else log,
                        process_group=0,  # Ctrl-C reaches this process only, which passes it on
                    )
                    members.append(member)
            _watch(members, logs)
        finally:
            for member in members:
                member.kill()
                member.wait()
            for log in logs:
                log.close()
            for number, former in before.items():
                signal.signal(number, former)


def _place(rank: int, size: int, listener: socket.socket) -> dict[str, str]:
    """The environment variables that tell `torch.distributed` the place of a process in its team."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    host, port = listener.getsockname()
    here = {"MASTER_ADDR": host, "MASTER_PORT": str(port), LISTENER: str(listener.fileno())}
    if sys.platform == "linux":
        here["GLOO_SOCKET_IFNAME"] = "lo"  # otherwise Gloo looks up the name of the host, which not every network knows
    return {name: str(value) for name, value in place.items()} | here


def _passing_on(members: Sequence[subprocess.Popen[bytes]]) -> "signal._HANDLER":
    """A handler that asks the leader to stop; a second Ctrl-C interrupts at once."""
    asked = False

    def handle(signum: int, frame: object) -> None:
        nonlocal asked
        if (asked and signum == signal.SIGINT) or not members:
            raise KeyboardInterrupt
        if not asked:
            # The leader must know that the terminal is closed, for it can no longer print there.
            members[0].send_signal(signal.SIGHUP if signum == signal.SIGHUP else signal.SIGTERM)
        asked = True

    return handle


def _watch(members: Sequence[subprocess.Popen[bytes]], logs: Sequence[IO[str]]) -> None:
    """Wait until all processes have ended. After one has failed, the others get `_GRACE_S`. Raises as `launch` does."""
    deadline = None
    statuses: dict[int, int] = {}  # of the processes that failed, in the order of their failures
    while True:
        running = [member for member in members if member.poll() is None]
        statuses |= {rank: m.returncode for rank, m in enumerate(members) if m.returncode and rank not in statuses}
        if statuses and deadline is None:
            deadline = time.monotonic() + _GRACE_S
        if not running or (deadline is not None and time.monotonic() > deadline):
            break
        time.sleep(0.05)
    if not statuses:
        return
    # By a signal if it was still starting.
    if statuses.get(0) in (128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP):
        raise KeyboardInterrupt
    # The first process to fail knows the reason, unless it failed because it lost another process.
    rank, status = next((item for item in statuses.items() if item[1] != LOST_MEMBER), next(iter(statuses.items())))
    if status < 0:
        hint = ", perhaps because memory ran out" if status == -signal.SIGKILL else ""
        raise ChildProcessError(f"process {rank} of {len(members)} was killed by {signal.Signals(-status).name}{hint}")
    leader = statuses.get(0, LOST_MEMBER)
    if leader < 0 or leader == LOST_MEMBER:  # otherwise the leader has already printed the error
        errors = (Path(logs[r].name).read_text() for r in (rank, *statuses))
        sys.stderr.write(next(filter(None, errors), "error: the processes have lost each other\n"))
    sys.exit(status)
