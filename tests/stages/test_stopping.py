"""Tests of what stages do when they are asked to stop."""

import os
import signal
from pathlib import Path

import pytest

from lm.training.resume import ResumeFolder
from lm.training.timing import Timing
from stages.support import StopRequest
from stages.train import _take_steps
from tests.training.test_trainer import small_trainer


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


def test_a_trainer_asked_to_stop_saves_after_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, folder = small_trainer(), ResumeFolder(tmp_path)
    update = trainer.backend.update

    def stop_in_step_3(rate: float) -> None:
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        update(rate)

    monkeypatch.setattr(trainer.backend, "update", stop_in_step_3)
    with pytest.raises(KeyboardInterrupt):
        _take_steps(trainer, folder, Timing(), None)
    state = folder.load()
    assert state is not None
    assert state.values["step"] == trainer.step == 3


def test_a_trainer_interrupted_within_a_step_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, folder = small_trainer(), ResumeFolder(tmp_path)
    update = trainer.backend.update

    def interrupted_in_step_3(rate: float) -> None:
        update(rate)
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(trainer.backend, "update", interrupted_in_step_3)
    with pytest.raises(KeyboardInterrupt):
        _take_steps(trainer, folder, Timing(), None)
    assert folder.load() is None  # that step would be taken twice
