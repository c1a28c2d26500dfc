"""Tests of lm/system/stopping.py."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lm.system.stopping import StopRequest
from tests.project import ROOT


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_waits_for_the_work_in_hand_and_a_second_ctrl_c_does_not(first: signal.Signals) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest() as stop:
        assert not stop.made
        os.kill(os.getpid(), first)
        assert stop.made
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


CLOSED_TERMINAL = """
import os, signal, sys, time
from lm.system.stopping import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while not stop.made:
        time.sleep(0.01)
    print("a terminal that is closed takes no more text", flush=True)
open(sys.argv[1], "w").close()
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_is_a_request_to_stop_unless_nohup_is_there(tmp_path: Path, ignored: bool) -> None:
    master, slave = os.openpty()
    saved = tmp_path / "saved"

    def in_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    program = [sys.executable, "-c", CLOSED_TERMINAL, str(saved)]
    process = subprocess.Popen(program, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, preexec_fn=in_terminal)
    os.close(slave)
    shown = b""
    while not shown.endswith(b"\n"):  # closed before the line's end, the terminal would fail the print of this line
        shown += os.read(master, 100)
    assert shown == b"ready\r\n"
    os.close(master)  # the system sends SIGHUP
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):  # it works on
            process.wait(0.5)
        process.kill()
        process.wait()
    else:
        assert process.wait(60) == 0
    assert saved.exists() != ignored


PRINTING = """
import sys
from contextlib import redirect_stderr
from tqdm import tqdm
from lm.system.stopping import StopRequest, UntilClosed
with redirect_stderr(UntilClosed(sys.stderr)), StopRequest() as stop:
    bar = tqdm(total=9, disable=None, mininterval=0)
    bar.update()
    input()
    bar.update()
    tqdm.write("a line", file=sys.stderr)
    bar.close()
open(sys.argv[1], "w").write(str(stop.made))
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_printing_to_a_closed_terminal_is_a_request_to_stop_too(tmp_path: Path, ignored: bool) -> None:
    """The signal of a closed terminal goes to the shell alone; here there is none."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING, str(tmp_path / "saved")],
        stdin=subprocess.PIPE,
        stderr=slave,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    os.close(slave)
    shown = b""
    while b"1/9" not in shown:  # so it is a terminal, with a progress bar
        shown += os.read(master, 1000)
    os.close(master)
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "saved").read_text() == str(not ignored)
