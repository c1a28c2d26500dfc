"""Tests of lm/training/saved_runs.py."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from lm.training.saved_runs import (
    STATE,
    About,
    folders,
    forget_recorded,
    is_running,
    lock_folder,
    read_about,
    remove,
    write_about,
)

ABOUT = About("train", 3, 8, {"train": {"steps": 8}})


def before_the_lock(patch: pytest.MonkeyPatch, *actions: Callable[[], object]) -> None:
    """Let other processes do something between the opening of a lock and its locking, each time the next of these."""
    flock, left = fcntl.flock, list(actions)

    def acting(lock: IO[bytes], operation: int) -> None:
        if left:
            left.pop(0)()
        flock(lock, operation)

    patch.setattr(fcntl, "flock", acting)


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again_and_then_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, gone = tmp_path / "key", tmp_path / ".key.1"
    before_the_lock(monkeypatch, lambda: folder.rename(gone), (folder / "lock").unlink)
    lock = lock_folder(folder)
    assert lock is not None
    assert os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat())
    assert is_running(folder)
    lock.close()
    assert not is_running(folder)


def test_a_folder_that_a_process_holds_is_not_removed(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path / "key")
    assert lock is not None
    assert not remove(tmp_path / "key")
    lock.close()
    assert remove(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_what_a_folder_says_comes_back_and_nonsense_is_nothing(tmp_path: Path) -> None:
    assert read_about(tmp_path) is None
    write_about(tmp_path, ABOUT)
    assert read_about(tmp_path) == ABOUT
    for nonsense in ("", "[]", "{}", '{"step": 3}', "{"):
        (tmp_path / "about.json").write_text(nonsense)
        assert read_about(tmp_path) is None


def test_folders_without_a_state_and_halves_of_removed_ones_go(tmp_path: Path) -> None:
    for name in ("kept", "empty", ".removed.7"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept" / STATE).touch()
    (tmp_path / ".removed.7" / STATE).touch()
    (tmp_path / "a file").touch()
    forget_recorded(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "kept"]
    assert list(folders(tmp_path)) == [tmp_path / "kept"]
    forget_recorded(tmp_path / "no such folder", [])
