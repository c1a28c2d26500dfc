"""Tests of lm/training/timing.py."""

import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from lm.system.files import read_json, write_json
from lm.training import timing as module
from lm.training.timing import Timing, machine


def test_laps_go_on_where_the_sitting_before_stopped(tmp_path: Path) -> None:
    path = tmp_path / "timing.json"
    first = Timing(every_s=0.0)
    for step in (10, 20, 30):
        time.sleep(0.01)
        first.lap(step)
    first.write(path)

    second = Timing(every_s=0.0)
    second.resume(path, step=20)  # what was saved last was step 20: step 30 is done again
    assert (second.steps, second.elapsed_s) == (first.steps[:2], first.elapsed_s[:2])
    second.lap(30)
    assert second.elapsed_s[2] >= first.elapsed_s[1]
    second.write(path)
    assert read_json(path) == {"machine": machine(), "steps": [10, 20, 30], "elapsed_s": second.elapsed_s}


def test_a_resumed_run_keeps_a_lap_that_was_worth_keeping(tmp_path: Path) -> None:
    path = tmp_path / "timing.json"
    write_json(path, {"machine": machine(), "steps": [10, 20], "elapsed_s": [1.0, 2.0]})
    timing = Timing(every_s=0.5)
    timing.resume(path, step=20)
    timing.lap(30)
    assert timing.steps == [10, 20, 30]


def test_of_many_laps_one_in_so_many_seconds_is_kept_and_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing(every_s=3600.0)
    for step in range(1, 6):
        timing.lap(step)
    assert timing.steps == [5]
    clock = count(start=7.0, step=0.015)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    timing = Timing(every_s=0.02)
    for step in range(1, 7):
        timing.lap(step)
    assert timing.steps == [2, 4, 6]
    assert timing.elapsed_s == [0.03, 0.06, 0.09]


def test_a_run_without_laps_starts_at_zero(tmp_path: Path) -> None:
    timing = Timing()
    timing.resume(tmp_path / "none.json", step=5)
    timing.write(tmp_path / "timing.json")
    timing.resume(tmp_path / "timing.json", step=5)
    assert timing.steps == []


def test_the_machine_is_named_with_its_cores() -> None:
    name, _, cores = machine().rpartition(", ")
    assert name
    assert cores.split()[1] in ("core", "cores")
