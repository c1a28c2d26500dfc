"""Tests of lm/system/stopping.py."""

import os
import signal

import pytest

from lm.system.stopping import StopRequest


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
