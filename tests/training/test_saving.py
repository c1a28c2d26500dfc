"""Tests of lm/training/saving.py, and of runs that save while they train."""

import threading
from pathlib import Path
from typing import Any

import pytest

from lm.training import run as run_module
from lm.training.backend import State
from lm.training.resume import ResumeFolder
from lm.training.saving import Saver
from tests.training.test_run import saved_steps, small_run


def test_a_save_does_not_stop_the_caller_and_the_next_one_waits_for_it() -> None:
    may_end, done = threading.Event(), list[int]()

    def slow() -> None:
        assert may_end.wait(60)
        done.append(1)

    with Saver() as saver:
        saver.start(slow)
        saver.check()
        assert done == []
        may_end.set()
        saver.start(lambda: done.append(2))
        assert done[0] == 1
    assert done == [1, 2]


def fail() -> None:
    raise OSError("no space left")


def check_for_ever(saver: Saver) -> None:
    while True:
        saver.check()


def test_an_error_is_raised_once_by_the_next_call() -> None:
    with Saver() as saver:
        for call in (saver.wait, lambda: saver.start(fail)):
            saver.start(fail)
            with pytest.raises(OSError, match="no space left"):
                call()
            saver.wait()
        saver.start(fail)
        with pytest.raises(OSError, match="no space left"):
            check_for_ever(saver)


def test_an_error_that_nobody_has_seen_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="no space left"), Saver() as saver:
        saver.start(fail)


def test_a_run_trains_on_while_a_state_is_written_which_later_steps_do_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SAVE_EVERY_S", 0.0)
    run = small_run(tmp_path)
    save, trained_on = ResumeFolder.save, threading.Event()
    gradient = run.trainer.backend.gradient
    states: list[State] = []

    def late(folder: ResumeFolder, state: State) -> None:
        if not states:
            assert trained_on.wait(60)  # if the run waited for the save, this would fail
        save(folder, state)
        states.extend(filter(None, [folder.load()]))

    def noticed(*arguments: Any) -> Any:
        result = gradient(*arguments)
        if run.trainer.step == 1:
            run.trainer.backend.update(0.1)  # so that weights change before the state is written
            trained_on.set()
        return result

    monkeypatch.setattr(ResumeFolder, "save", late)
    monkeypatch.setattr(run.trainer.backend, "gradient", noticed)
    with run:
        run.take_steps()
    assert [state.values["step"] for state in states] == [1, 2, 3, 4, 5, 6, 7, 8, 8]

    monkeypatch.undo()
    trainer = small_run(tmp_path / "other").trainer
    next(trainer.run())
    expected = trainer.state()
    assert states[0].arrays.keys() == expected.arrays.keys()
    assert all((states[0].arrays[name] == array).all() for name, array in expected.arrays.items())


def test_a_save_that_fails_ends_the_run_and_leaves_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SAVE_EVERY_S", 0.0)
    save = ResumeFolder.save

    def full(folder: ResumeFolder, state: State) -> None:
        if state.values["step"] == 3:
            fail()
        save(folder, state)

    monkeypatch.setattr(ResumeFolder, "save", full)
    with pytest.raises(OSError, match="no space left"), small_run(tmp_path) as run:
        run.take_steps()
    assert run.trainer.step in (3, 4)
    assert saved_steps(tmp_path) == [2]
