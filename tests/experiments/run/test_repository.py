"""In which repositories DVC loses or hides experiments, what is said then, and the repair."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.run import execute
from experiments.run.repository import (
    check_experiments_are_found,
    check_experiments_are_kept,
    check_place,
    killed_copies,
    repair,
)
from experiments.run.results import load_results
from experiments.run.start import Start
from tests.experiments.results_by_hand import PARAMS, made_run
from tests.project import ROOT

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """The command `git` in a repository of one commit, which is also the working directory."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").touch()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(ROOT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\nname = Tester\nemail = t@example.org\n[init]\ndefaultBranch = main\n")

    def run(*words: str) -> str:
        return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()

    run("init", "-q")
    run("add", "--all")
    run("commit", "-qm", "state")
    return run


def leave_what_a_killed_run_leaves(git: Git) -> None:
    head = git("rev-parse", "HEAD")
    for name in ("EXEC_BASELINE", "EXEC_HEAD", "EXEC_MERGE"):
        git("update-ref", f"refs/exps/exec/{name}", head)
    git("checkout", "-q", head)


def test_a_killed_run_is_noticed_and_repaired(git: Git, capsys: pytest.CaptureFixture[str]) -> None:
    git("update-ref", "refs/exps/exec/EXEC_APPLY", "HEAD")  # which DVC keeps
    check_experiments_are_found()
    leave_what_a_killed_run_leaves(git)
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# an edit\n")
    message = "refs/exps/exec/EXEC_BASELINE: must be gone, because .* was killed here: python -m experiments repair$"
    with pytest.raises(ValueError, match=message):
        load_results()
    assert repair(argparse.Namespace()) == 0
    assert capsys.readouterr().out.startswith("git is on the branch main again\n")
    check_experiments_are_found()
    assert git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert git("status", "--porcelain") == "M params.yaml"
    assert git("for-each-ref", "--format=%(refname)", "refs/exps") == "refs/exps/exec/EXEC_APPLY"


def test_commits_made_after_a_killed_run_are_not_left_behind(git: Git, capsys: pytest.CaptureFixture[str]) -> None:
    leave_what_a_killed_run_leaves(git)
    git("commit", "--allow-empty", "-qm", "more work")
    head = git("rev-parse", "HEAD")
    repair(argparse.Namespace())
    assert "this keeps the commits made since, on a new one: git switch -c NAME" in capsys.readouterr().out
    assert git("rev-parse", "HEAD") == head
    check_experiments_are_found()


def test_a_run_at_work_is_no_killed_run(git: Git) -> None:
    leave_what_a_killed_run_leaves(git)
    with subprocess.Popen([sys.executable, "-c", "input()", "exp"], stdin=subprocess.PIPE) as process:
        note = Path(".dvc/tmp/exps/run/workspace/workspace.json")
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps({"pid": process.pid}))
        check_experiments_are_found()
        process.communicate(b"\n")
    with pytest.raises(ValueError, match="must be gone"):
        check_experiments_are_found()


def test_a_shallow_clone_is_noticed_and_repaired(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("commit", "--allow-empty", "-qm", "more")
    git("clone", "-q", "--depth", "1", f"file://{Path.cwd()}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(ValueError, match=r"^git: must be a whole clone, .*: git fetch --unshallow, or python -m exp"):
        execute.run_all([], Start(PARAMS, PARAMS))
    repair(argparse.Namespace())
    check_experiments_are_kept()


def test_letters_that_dvc_cannot_copy_are_named(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_experiments_are_kept()
    git("config", "user.name", "José")
    with pytest.raises(
        ValueError, match=r"/\.git/config: must be ASCII, .*, got 'name = José'; .* git config --global"
    ):
        check_experiments_are_kept()
    git("config", "--unset", "user.name")
    Path.cwd().rename(tmp_path / "josé")
    monkeypatch.chdir(tmp_path / "josé")
    with pytest.raises(
        ValueError, match=r"/josé/\.dvc/cache: the path .* must be ASCII, .*: dvc cache dir --local FOLDER"
    ):
        check_experiments_are_kept()
    Path(".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path}/cache\n")
    check_experiments_are_kept()


def test_a_run_that_leaves_no_experiment_has_failed(
    git: Git, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, head = made_run("lost"), git("rev-parse", "HEAD")
    monkeypatch.setattr(execute, "load_results", dict)
    monkeypatch.setattr(execute, "run_dvc", lambda words: 0)
    assert execute.run_all([run], Start(PARAMS, PARAMS)) == 1
    assert "error: made-lost: dvc ended well, but there is no such experiment" in capsys.readouterr().err
    reference = f"refs/exps/{head[:2]}/{head[2:]}/made-lost"
    monkeypatch.setattr(execute, "run_dvc", lambda words: len(git("update-ref", reference, "HEAD")))
    assert execute.run_all([run], Start(PARAMS, PARAMS)) == 0
    assert execute.run_all([run], Start(PARAMS, PARAMS), force=True) == 1  # it is the one that was there before


def test_each_place_that_is_not_the_project_says_where_to_go(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_place()
    root = Path.cwd()
    (root / "lm").mkdir()
    monkeypatch.chdir(root / "lm")
    with pytest.raises(ValueError, match=rf"/lm: must be the root of the project, which holds dvc\.yaml: cd {root}$"):
        check_place()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r": must be the root of the project, which holds dvc\.yaml$"):
        check_place()
    monkeypatch.chdir(root)
    shutil.rmtree(root / ".git")
    with pytest.raises(
        ValueError, match=r"must be in a git repository, .*: git init && git add --all && git commit -m s"
    ):
        check_place()
    git("init", "-q")
    with pytest.raises(ValueError, match=r"must have a commit, .*: git add --all && git commit -m start$"):
        check_place()


def test_a_killed_experiment_in_a_copy_is_no_running_one(git: Git, capsys: pytest.CaptureFixture[str]) -> None:
    copies = {name: Path(f".dvc/tmp/exps/standalone/{name}").resolve() for name in ("killed", "at-work", "done", "new")}
    for name, copy in copies.items():
        copy.mkdir(parents=True)
        (info := Path(f".dvc/tmp/exps/run/{name}/{name}.run")).parent.mkdir(parents=True)
        status = 6 if name == "done" else 2
        info.write_text(json.dumps({"root_dir": str(copy), "location": "tempdir", "status": status, "name": name}))
        if name != "new":
            os.utime(info, (0, 0))
    sleeper = subprocess.Popen(["sleep", "60"], cwd=copies["at-work"])
    try:
        assert killed_copies() == {"killed": copies["killed"]}
        assert repair(argparse.Namespace()) == 0
    finally:
        sleeper.kill()
        sleeper.wait()
    assert "removed 1 temporary copy of killed experiments" in capsys.readouterr().out
    assert not copies["killed"].exists()
    assert all(copy.exists() for name, copy in copies.items() if name != "killed")
