"""Tests of lm/training/resume.py."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.training.resume import ResumeFolder, open_resume_folder, resume_key

STATE: dict[str, Any] = {"step": 3, "weights": {"a": torch.arange(6.0).view(2, 3)}, "rows": [(1.0, 2.0)]}


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "key") as folder:
        assert folder.load() is None
        folder.save(STATE)
        folder.save(STATE | {"step": 4})
    with open_resume_folder(tmp_path, "key") as folder:
        state = folder.load()
    assert state is not None
    assert state["step"] == 4
    assert state["rows"] == [(1.0, 2.0)]
    assert torch.equal(state["weights"]["a"], STATE["weights"]["a"])


def test_runs_of_different_keys_do_not_see_each_other(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path, "one") as one, open_resume_folder(tmp_path, "other") as other:
        one.save(STATE)
        assert other.load() is None


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    with open_resume_folder(tmp_path / "resume", "key") as folder:
        folder.save(STATE)
        folder.remove()
    assert list((tmp_path / "resume").iterdir()) == []


def test_a_save_that_fails_midway_leaves_the_state_before(tmp_path: Path) -> None:
    class Unwritable:
        def __reduce__(self) -> str:
            raise OSError(28, "No space left on device")

    with open_resume_folder(tmp_path, "key") as folder:
        folder.save(STATE)
        with pytest.raises(OSError, match="No space left"):
            folder.save({"step": 4, "weights": STATE["weights"], "last": Unwritable()})
        state = folder.load()
    assert state is not None
    assert state["step"] == 3
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["lock", "state.pt"]


DIE_WHILE_SAVING = """
import os, sys
from pathlib import Path
import torch
from lm.training.resume import open_resume_folder

class Deadly:
    def __reduce__(self):
        os.kill(os.getpid(), 9)

with open_resume_folder(Path(sys.argv[1]), "key") as folder:
    folder.save({"step": 4})
    folder.save({"step": 5, "weights": torch.zeros(100_000), "last": Deadly()})
"""


def test_a_process_killed_while_it_saves_leaves_the_state_before_and_its_draft_is_cleared(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_WHILE_SAVING, tmp_path], check=False)
    assert killed.returncode == -9
    assert len(list((tmp_path / "key").glob(".*.draft"))) == 1
    with open_resume_folder(tmp_path, "key") as folder:
        assert folder.load() == {"step": 4}
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["lock", "state.pt"]


HOLD = """
import sys
from pathlib import Path
from lm.training.resume import open_resume_folder

with open_resume_folder(Path(sys.argv[1]), "key") as folder:
    draft = Path(sys.argv[1]) / "key" / ".state.pt.1.draft"
    draft.touch()
    print("held", flush=True)
    sys.stdin.read()
    assert draft.exists(), "a draft that is being written was deleted"
"""


def test_a_run_that_another_process_holds_is_a_clear_error_and_is_left_alone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ValueError, match=r"key: the same training already runs in another process; "),
        open_resume_folder(tmp_path, "key"),
    ):
        pass
    with open_resume_folder(tmp_path, "another key"):
        pass
    holder.communicate()
    assert holder.returncode == 0
    with open_resume_folder(tmp_path, "key"):  # free again
        pass


def test_the_lock_is_freed_when_the_block_fails(tmp_path: Path) -> None:
    def fail() -> ResumeFolder:
        with open_resume_folder(tmp_path, "key") as folder:
            if folder.load() is None:
                raise KeyboardInterrupt
            return folder

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fail()


FACTS: dict[str, Any] = {"parameters": {"train": {"steps": 3, "tokens": None}}, "inputs": ["ab", "cd"], "torch": "2.9"}


def test_the_key_does_not_depend_on_the_order_of_the_facts() -> None:
    assert resume_key(FACTS) == resume_key(dict(reversed(FACTS.items())))


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": {"train": {"steps": 4, "tokens": None}}},
        {"parameters": {"train": {"steps": 3, "tokens": 0}}},
        {"parameters": {"train": {"steps": 3}}},
        {"inputs": ["cd", "ab"]},
        {"torch": "2.10"},
        {"device": "cuda"},
    ],
)
def test_the_key_changes_with_every_fact(changed: dict[str, Any]) -> None:
    assert resume_key(FACTS | changed) != resume_key(FACTS)
