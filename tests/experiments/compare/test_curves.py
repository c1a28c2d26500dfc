"""Tests of experiments/compare/curves.py that need no run; test_command_line.py reads the curves of real runs."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from experiments.compare.curves import Curves, Sample, _interpolated, broke_down, read_curves
from tests.experiments.results_by_hand import made_curve, made_result, made_run
from tests.workspace import Workspace

RUN = made_run("base")


def diverged(losses: list[float], **metrics: object) -> bool:
    curve = made_curve(losses)
    return broke_down(made_result(RUN, 1.0, **metrics), Curves(curve, curve, None, None, None))


def test_a_loss_that_falls_with_noise_has_not_diverged() -> None:
    assert not diverged([7.6, 5.0, 4.0, 4.3, 3.9, 4.2])
    assert not diverged([9.0, *([5.0] * 30)])  # a peak within the first tenth


@pytest.mark.parametrize(
    "losses",
    [
        [7.6, 5.0, 4.0, 4.9],  # ends more than a fifth above its lowest
        [7.6, 8.0, 9.0, 8.0, 7.5, 7.4],  # ln(2048) is 7.62: after the start it is still worse than a blind guess
    ],
)
def test_a_loss_that_rises_or_never_falls_has_diverged(losses: list[float]) -> None:
    assert diverged(losses)


def test_a_run_that_the_train_stage_calls_diverged_has_diverged_whatever_its_curve() -> None:
    assert diverged([7.6, 5.0, 4.0], diverged=True)
    assert broke_down(made_result(RUN, 1.0, diverged=True), Curves(None, None, None, None, None))
    assert not broke_down(made_result(RUN, 1.0), Curves(None, None, None, None, None))


def test_seconds_between_two_laps_are_interpolated() -> None:
    seconds = _interpolated({10: 1.0, 20: 3.0}, pd.Series([10, 15, 20]))
    assert [seconds[step] for step in (10, 15, 20)] == [1.0, 2.0, 3.0]


def test_samples_are_read_from_the_commit_of_the_experiment(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    result = replace(made_result(RUN, 1.0), rev="HEAD")
    assert read_curves(result, tmp_path).samples is None
    texts = [
        {"prompt": "", "text": "A cat.\n---\nIt slept.", "ids": [5, 6, 7], "complete": True},
        {"prompt": "Once", "text": " more", "ids": [8], "complete": False},
    ]
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "base.json").write_text(json.dumps({"seed": 1, "settings": {}, "samples": texts}))
    (tmp_path / "dvc.yaml").unlink()  # so git alone holds the file
    workspace.commit()
    assert read_curves(result, tmp_path).samples == (
        Sample("", "A cat.\n---\nIt slept.", True),
        Sample("Once", " more", False),
    )


def test_every_step_of_a_curve_has_a_time_also_before_the_first_and_after_the_last_that_was_timed() -> None:
    seconds = _interpolated({4: 2.0, 8: 3.0}, pd.Series([2, 6, 9]))
    assert [seconds[step] for step in (2, 4, 6, 8, 9)] == [1.0, 2.0, 2.5, 3.0, 3.0]
