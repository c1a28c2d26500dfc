"""Tests of experiments/compare/curves.py that need no run; test_command_line.py reads the curves of real runs."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd

from experiments.compare.curves import TRAIN, VALID, Sample, _interpolated, read_curves
from experiments.run.results import Result
from tests.experiments.results_by_hand import made_result, made_run
from tests.workspace import Workspace

RUN = made_run("base")


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


def test_samples_of_a_chat_model_are_its_first_answers(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    said = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user", "assistant")]
    answers = [{"message": place, "text": f"answer {place}", "ended": place < 3} for place in (2, 4)]
    dialogues = [
        {"messages": said, "checks": [], "answers": answers},
        {"messages": said[1:3], "checks": [], "answers": []},
        *(
            {"messages": [{"role": "user", "content": f"{n}?"}], "answers": [answers[1] | {"message": 1}]}
            for n in range(9)
        ),
    ]
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "chat.json").write_text(json.dumps(dialogues))
    (tmp_path / "dvc.yaml").unlink()
    workspace.commit()
    samples = read_curves(replace(made_result(RUN, 1.0), rev="HEAD"), tmp_path, of_chat=True).samples
    assert samples == (
        Sample("user\n\n", "answer 2", True),
        *(Sample(f"{n}?\n\n", "answer 4", False) for n in range(5)),
    )


def test_every_step_of_a_curve_has_a_time_also_before_the_first_and_after_the_last_that_was_timed() -> None:
    seconds = _interpolated({4: 2.0, 8: 3.0}, pd.Series([2, 6, 9]))
    assert [seconds[step] for step in (2, 4, 6, 8, 9)] == [1.0, 2.0, 2.5, 3.0, 3.0]


def test_curves_are_found_in_a_project_below_the_root_of_git(tmp_path: Path) -> None:
    project = tmp_path / "below" / "here"
    (project / "plots").mkdir(parents=True)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").touch()
    for path in (TRAIN, VALID):
        (project / path.format("")).write_text("step,tokens,loss\n1,10,2.5\n")
        (project / path.format("finetune_")).write_text("step,tokens,loss\n1,10,0.5\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-qm", "state"]):
        subprocess.run([*git, *words], check=True)
    rev = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    curves = read_curves(Result("below", rev, "done", {}, {}, {}), project)
    assert curves.train is not None
    assert curves.valid is not None
    assert curves.train["loss"].tolist() == curves.valid["loss"].tolist() == [2.5]
    of_chat = read_curves(Result("below", rev, "done", {}, {}, {}), project, of_chat=True)
    assert of_chat.train is not None
    assert of_chat.train["loss"].tolist() == [0.5]
