"""Tests of experiments/run/verify.py that need no pipeline; tests/test_reproducing.py runs the whole command."""

from pathlib import Path

import pytest

from experiments.run.verify import Out, compare_outs, resolve_revision
from tests.workspace import Workspace


def test_outs_are_compared_in_the_order_the_stages_ran() -> None:
    expected = {"gone": {"d": "4"}, "train": {"b": "2", "c": "3"}, "encode": {"a": "1"}}
    got = {"encode": {"a": "1"}, "train": {"b": "9", "e": "5"}}
    ran = [
        Out("encode", "a", "1", "1"),
        Out("train", "b", "2", "9"),
        Out("train", "c", "3", None),
        Out("train", "e", None, "5"),
    ]
    assert compare_outs(expected, got) == [*ran, Out("gone", "d", "4", None)]
    assert compare_outs(expected, got, whole=False) == ran


def test_a_revision_is_one_of_git_or_else_an_experiment(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    head = workspace.run("git", "rev-parse", "HEAD").strip()
    workspace.commit()
    second = workspace.run("git", "rev-parse", "HEAD").strip()
    workspace.run("git", "branch", "side", head)
    for name, baseline in (("wide", head), ("side", head), ("twice", head), ("twice", second)):
        workspace.run("git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", second)
    workspace.run("git", "update-ref", "refs/exps/exec/EXEC_HEAD", second)

    assert (
        resolve_revision(tmp_path, "HEAD")
        == resolve_revision(tmp_path, "wide")
        == resolve_revision(tmp_path, second[:10])
        == second
    )
    assert resolve_revision(tmp_path, "side") == head
    for name, rule in (
        ("twice", "got 2 of that name"),
        ("EXEC_HEAD", "got none of these"),
        ("--all", "got none of these"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: must be .*{rule}$"):
            resolve_revision(tmp_path, name)
