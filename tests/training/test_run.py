"""What a run does when it is asked to stop, and what it leaves behind."""

import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lm.reference.blas import blas_threads
from lm.system.files import md5, read_json
from lm.system.processor import processor_name
from lm.training.backend import Measurement
from lm.training.numpy_backend import NumpyBackend
from lm.training.resume import ResumeFolder
from lm.training.run import Run, RunFolders, explaining_errors
from lm.training.saved_runs import forget_recorded
from lm.training.torch_backend import TorchBackend
from lm.training.trainer import DivergedError
from tests.small import train_config
from tests.training.test_trainer import small_trainer

FACTS: dict[str, Any] = {"parameters": {"train": {"steps": 8}}, "inputs": [], "code": "x"}


def small_run(folder: Path, facts: dict[str, Any] = FACTS, events: bool = False, **changes: Any) -> Run:
    folders = RunFolders(folder / "states", folder / "timings", folder / "events" if events else None)
    return Run(small_trainer(**changes), facts, folders)


def interrupt_in_step(run: Run, step: int, *signals: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let signals come while a step changes the weights."""
    update: Callable[[float], None] = run.trainer.backend.update

    def interrupted(rate: float) -> None:
        update(rate)
        if run.trainer.step + 1 == step:
            for number in signals:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(run.trainer.backend, "update", interrupted)


def saved_steps(folder: Path) -> list[int]:
    """The steps at which the states in a folder were saved."""
    states = [ResumeFolder(path).load() for path in (folder / "states").iterdir()]
    return [state.values["step"] for state in states if state]


def written(folder: Path, content: bytes = b"step\n1\n") -> Path:
    """An out."""
    path = folder / "steps.csv"
    path.write_bytes(content)
    return path


def test_a_finished_run_notes_its_time_under_the_curve_s_md5(tmp_path: Path) -> None:
    with small_run(tmp_path) as run:
        run.take_steps()
        run.finish([], written(tmp_path))
    assert run.trainer.done
    noted = read_json(tmp_path / "timings" / "5893d08a51cd95781581ebf6ab011b70.json")
    assert noted["steps"][-1] == 8
    assert noted["elapsed_s"] == sorted(noted["elapsed_s"])


def test_a_finished_run_keeps_its_state_until_all_of_its_outs_are_recorded(tmp_path: Path) -> None:
    curve = written(tmp_path)
    with small_run(tmp_path) as run:
        run.take_steps()
        run.finish([curve, Path(__file__)], curve)
    outs = [md5(curve), md5(Path(__file__))]
    for recorded in ([], outs[:1], outs[1:]):
        forget_recorded(tmp_path / "states", recorded)
        assert saved_steps(tmp_path) == [8]
    forget_recorded(tmp_path / "states", [*outs, "of another out"])
    assert list((tmp_path / "states").iterdir()) == []


@pytest.mark.parametrize("if_diverged", ["fail", "record"])
def test_a_run_killed_after_its_last_step_gives_its_result_again_without_a_step(
    tmp_path: Path, if_diverged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid_loss = 900.0 if if_diverged == "record" else 3.0
    monkeypatch.setattr(TorchBackend, "measure", lambda backend, batch: Measurement(valid_loss, 0.5))
    with small_run(tmp_path, if_diverged=if_diverged) as first:
        first.take_steps()

    def no_step(backend: TorchBackend, parts: object, noise: object) -> None:
        raise AssertionError("a step was taken again")

    monkeypatch.setattr(TorchBackend, "gradient", no_step)
    with small_run(tmp_path, if_diverged=if_diverged) as again:
        again.take_steps()
    assert again.trainer.summary() == first.trainer.summary()
    assert again.trainer.summary()["diverged"] == (if_diverged == "record")
    assert again.trainer.step_rows == first.trainer.step_rows
    assert again.trainer.computed == first.trainer.computed
    for name, weight in first.trainer.kept_weights.items():
        np.testing.assert_array_equal(again.trainer.kept_weights[name], weight)


def test_runs_that_have_not_finished_or_are_at_work_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path)
    interrupt_in_step(run, 3, signal.SIGTERM, monkeypatch=monkeypatch)
    with pytest.raises(KeyboardInterrupt), run:
        run.take_steps()
    curve = written(tmp_path)
    with small_run(tmp_path, FACTS | {"code": "y"}) as finished:
        finished.take_steps()
        finished.finish([curve], curve)
        forget_recorded(tmp_path / "states", [md5(curve)])
        assert sorted(saved_steps(tmp_path)) == [3, 8]
    forget_recorded(tmp_path / "states", [md5(curve)])
    assert saved_steps(tmp_path) == [3]


def test_a_run_asked_to_stop_saves_after_the_step_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = list(small_trainer().run())
    run = small_run(tmp_path)
    interrupt_in_step(run, 3, signal.SIGTERM, monkeypatch=monkeypatch)
    with pytest.raises(KeyboardInterrupt), run:
        run.take_steps()
    assert saved_steps(tmp_path) == [run.trainer.step] == [3]
    assert "stopped after step 3; the same run goes on from there" in capsys.readouterr().err
    with small_run(tmp_path) as resumed:
        assert resumed.trainer.step == 3
        resumed.take_steps()
    assert "resumed after step 3" in capsys.readouterr().err
    assert [row.loss for row in resumed.trainer.step_rows] == whole


def test_a_stopped_run_has_the_snapshots_of_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: dict[str, Any] = {"snapshots": [5, 0, 3, 99]}
    with small_run(tmp_path / "unbroken", **changes) as run:
        run.take_steps()
        expected = dict(run.snapshots())
    assert list(expected) == [0, 3, 5]  # the run has 8 steps
    assert all(not np.array_equal(expected[3][name], expected[5][name]) for name in expected[3])
    with small_run(tmp_path / "stopped", **changes) as run:
        interrupt_in_step(run, 4, signal.SIGTERM, monkeypatch=monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            run.take_steps()
    with small_run(tmp_path / "stopped", **changes) as run:
        run.take_steps()
        found = dict(run.snapshots())
    assert list(found) == list(expected)
    assert all(np.array_equal(found[step][name], expected[step][name]) for step in found for name in expected[step])


def test_a_run_interrupted_within_a_step_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path)
    interrupt_in_step(run, 3, signal.SIGTERM, signal.SIGINT, monkeypatch=monkeypatch)
    with pytest.raises(KeyboardInterrupt), run:
        run.take_steps()
    assert saved_steps(tmp_path) == []  # that step would be taken twice


def test_a_run_that_diverges_saves_the_state_before(tmp_path: Path) -> None:
    diverging: dict[str, Any] = {"learning_rate": 1e30, "clip_norm": None, "schedule": "constant", "warmup_steps": 0}
    run = small_run(tmp_path, **diverging)
    with pytest.raises(DivergedError), run:
        run.take_steps()
    assert saved_steps(tmp_path) == [run.trainer.step]


def test_the_step_after_which_a_validation_ended_the_run_has_its_time_and_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path, events=True, if_diverged="record")
    monkeypatch.setattr(run.trainer.backend, "measure", lambda batch: Measurement(math.nan, 0.5))
    with run:
        run.take_steps()
        run.finish([], Path(__file__))
    assert (run.trainer.diverged, run.trainer.step_rows[-1].step) == (True, 3)
    (timing,) = (tmp_path / "timings").iterdir()
    assert read_json(timing)["steps"][-1] == 3
    events = EventAccumulator(str(tmp_path / "events" / run.key)).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [1, 2, 3]


def test_a_run_that_is_left_early_keeps_its_state(tmp_path: Path) -> None:
    with small_run(tmp_path):
        pass
    assert len(list((tmp_path / "states").iterdir())) == 1


def test_other_facts_are_another_run(tmp_path: Path) -> None:
    keys = [small_run(tmp_path, FACTS | change).key for change in ({}, {}, {"code": "y"}, {"inputs": ["z"]})]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def key_where(folder: Path, facts: dict[str, Any], **changes: Any) -> str:
    """The key of a run that is computed with other facts, for the same parameters."""
    trainer = small_trainer(**changes)
    assert isinstance(trainer.backend, TorchBackend | NumpyBackend)
    report = trainer.backend.compute_report
    assert facts.keys() <= report.facts.keys()
    trainer.backend.compute_report = report._replace(facts=report.facts | facts)
    return Run(trainer, FACTS, RunFolders(folder, folder, None)).key


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_with_dropout_a_run_computed_in_another_way_is_another_run_even_if_auto_chose_it(
    tmp_path: Path, dropout: float
) -> None:
    model = {"dropout": dropout}
    here = key_where(tmp_path, {}, model=model)
    for other in ({"processes": 4}, {"compile": True}, {"shard": True}, {"recompute": True}, {"processor": "other"}):
        assert (key_where(tmp_path, other, model=model) == here) == (dropout == 0), other
    # Threads never decide what is dropped: test_the_number_of_threads_does_not_change_what_is_dropped.
    assert key_where(tmp_path, {"threads": 9}, model=model) == here
    # What a parameter says does not count where it comes to the same.
    facts: dict[str, Any] = FACTS | {"parameters": {"train": {"steps": 8, "processes": "auto"}}}
    assert small_run(tmp_path, facts, model=model).key == here


def test_other_libraries_and_devices_make_another_run(tmp_path: Path) -> None:
    for changes, others in (
        ({}, [{"library": "torch 0"}, {"numpy": "0"}, {"device": "cuda"}, {"precision": "bf16"}]),
        ({"backend": "numpy"}, [{"library": "numpy 0"}, {"device": "cuda"}]),
    ):
        keys = [key_where(tmp_path, facts, **changes) for facts in ({}, *others)]
        assert len(set(keys)) == len(keys)


def test_a_run_that_goes_on_with_another_processor_and_other_threads_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(tmp_path, backend="numpy")
    interrupt_in_step(run, 3, signal.SIGTERM, monkeypatch=monkeypatch)
    with pytest.raises(KeyboardInterrupt), run:
        run.take_steps()
    monkeypatch.setattr("lm.training.numpy_backend.processor_name", lambda: "Abacus")
    monkeypatch.setattr("lm.training.numpy_backend.blas_threads", lambda: 17)
    with small_run(tmp_path, backend="numpy") as resumed:
        resumed.take_steps()
    line = (
        f"some steps were computed in another way (processor {processor_name()}, now Abacus, "
        f"threads {blas_threads()}, now 17): equal to an unbroken run within rounding, not bit for bit"
    )
    assert line in capsys.readouterr().err.splitlines()
    assert [entry["from_step"] for entry in resumed.trainer.computed] == [0, 3]


def test_only_one_process_takes_a_run(tmp_path: Path) -> None:
    with small_run(tmp_path) as run:
        with pytest.raises(ValueError, match="the same training already runs in another process"), small_run(tmp_path):
            pass
        run.take_steps()


def test_a_run_that_cannot_start_lets_go_of_its_folder(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    state = tmp_path / "states" / run.key / "state.npz"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is damaged"), run:
        pass
    state.unlink()
    with small_run(tmp_path) as again:
        again.take_steps()
    assert again.trainer.done


def test_events_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    for events in (False, True):
        with small_run(tmp_path, events=events) as run:
            run.take_steps()
        assert (tmp_path / "events").exists() == events
    assert list((tmp_path / "events" / run.key).glob("events.*"))


def test_a_lack_of_memory_says_what_to_lower() -> None:
    message = (
        r"^train\.batch_size: 2 sequences at once, or the model alone, do not fit into memory; lower it, "
        r"raise train\.accumulate from 2, set train\.recompute, or use a smaller model$"
    )
    with pytest.raises(ValueError, match=message), explaining_errors(train_config(batch_size=4, accumulate=2)):
        raise MemoryError


def test_other_errors_pass_through_even_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm.distributed.torch_team", None)  # its import fails
    with pytest.raises(RuntimeError, match="shapes"), explaining_errors(train_config()):
        raise RuntimeError("shapes")
