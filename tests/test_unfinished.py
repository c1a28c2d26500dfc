"""Tests of commands/unfinished.py."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from commands.unfinished import main
from lm.training.saved_runs import FOLDER, STATE, About, lock_folder, write_about

DAY_S = 24 * 60 * 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of three saved runs: one of a day ago, one of a week ago that has finished, one without a word."""
    (tmp_path / "params.yaml").write_text("seed: 1\ntrain: {steps: 8, betas: [0.9, 0.98]}\n")
    here: dict[str, Any] = {"seed": 1, "train": {"steps": 8, "betas": [0.9, 0.98]}}
    save(tmp_path, "aa1", 1, About("train", 1234, 5000, here))
    save(tmp_path, "aa2", 7, About("train", 8, 8, here | {"train": {"steps": 8, "betas": [0.9, 0.5]}}, ["ab"]))
    save(tmp_path, "b", 40, None)
    return tmp_path


def save(root: Path, key: str, days: int, about: About | None) -> None:
    folder = root / FOLDER / key
    folder.mkdir(parents=True)
    (folder / STATE).write_bytes(bytes(1_500_000))
    if about:
        write_about(folder, about)
    for path in folder.iterdir():
        os.utime(path, (0, time.time() - days * DAY_S))


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / FOLDER).iterdir())


def test_the_list_says_how_far_each_run_is_and_how_it_differs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = lock_folder(root / FOLDER / "aa1")
    main([], root)
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", line) for line in lines] == [
        "aa1  DATE     1.5 MB  train: 1,234 of 5,000 steps, at work",
        "    the parameters of params.yaml",
        "aa2  DATE     1.5 MB  train: 8 of 8 steps, finished, but not found in dvc.lock yet",
        "    train.betas=[0.9, 0.5]",
        "b  DATE     1.5 MB  saved by another version, which alone can continue it",
        "3 states, 4.5 MB; to remove them: make unfinished REMOVE=all",
    ]
    assert lock is not None
    assert left(root) == ["aa1", "aa2", "b"]


def test_those_named_and_those_of_an_age_are_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--remove", "all", "--older-than", "30"], root)
    assert left(root) == ["aa1", "aa2"]
    main(["--remove", "aa2", "aa1"], root)
    assert left(root) == []
    main(["--remove", "all"], root)
    main([], root)
    assert capsys.readouterr().out.splitlines() == [
        "removed b, 1.5 MB",
        "removed aa2, 1.5 MB",
        "removed aa1, 1.5 MB",
        "nothing to remove",
        "no states of runs are saved",
    ]


def test_a_run_at_work_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = lock_folder(root / FOLDER / "aa1")
    main(["--remove", "all"], root)
    assert "kept aa1: its run is at work\n" in capsys.readouterr().out
    assert left(root) == ["aa1"]
    assert lock is not None


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--remove", "aa"], "--remove: must be a key, or its first letters, got 'aa': 2 keys begin so"),
        (
            ["--remove", "b", "c"],
            "--remove: must be a key, or its first letters, got 'c': no key begins so",
        ),
        (["--older-than", "-1"], "--older-than: must be 0 or more days, got -1"),
    ],
)
def test_a_mistake_removes_nothing_and_gets_one_line(root: Path, words: list[str], error: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words, root)
    assert caught.value.code == f"error: {error}"
    assert left(root) == ["aa1", "aa2", "b"]
