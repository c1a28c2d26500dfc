"""Whether DVC can make and find experiments in this repository, and the cure where it cannot."""

import argparse
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil

from experiments.run.dvc_commands import ask_dvc, ask_git
from lm.system.files import read_json

# While `dvc exp run` works in the workspace, git is on no branch, and these references say where it was.
_EXEC = "refs/exps/exec"
_PROCESS = Path(".dvc/tmp/exps/run/workspace/workspace.json")
_CURE = "python -m experiments repair"
_BEGINNING_S = 10.0


def check_place() -> None:
    """Check that the working directory is the root of the project, in a git repository that has a commit.

    Raises:
        ValueError: where it is not; the message says what to do.
    """
    here = Path.cwd()
    if not _is_project(here):
        above = next((f": cd {folder}" for folder in here.parents if _is_project(folder)), "")
        raise ValueError(f"{here}: must be the root of the project, which holds dvc.yaml{above}")
    why = "because DVC keeps experiments as commits of git"
    try:
        ask_git("rev-parse", "--git-dir")
    except ValueError as error:
        if "not a git repository" not in str(error):
            raise
        commands = "git init && git add --all && git commit -m start"
        raise ValueError(f"{here}: must be in a git repository, {why}: {commands}") from None
    if not ask_git("rev-list", "--max-count=1", "--all"):
        raise ValueError(f"{here}: must have a commit, {why}: git add --all && git commit -m start")


def check_experiments_are_kept() -> None:
    """Check that an experiment that DVC makes here will exist afterwards.

    Raises:
        ValueError: in a shallow clone, to which DVC brings no experiment back from its copies; and where a setting that
            DVC copies holds other letters than ASCII, because it writes them without an encoding.
    """
    if _is_shallow():
        raise ValueError(
            "git: must be a whole clone, because DVC loses every experiment of a shallow one: "
            f"git fetch --unshallow, or {_CURE}"
        )
    for file in (Path(ask_git("rev-parse", "--show-toplevel").rstrip("\n"), ".git/config"), Path(".dvc/config.local")):
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        if wrong := next((line.strip() for line in lines if not line.isascii()), None):
            raise ValueError(
                f"{file}: must be ASCII, because DVC cannot copy other letters into an experiment, got {wrong!r}; "
                "names and settings can stand in git's own file: git config --global"
            )
    if not str(Path.cwd()).isascii() and not (cache := ask_dvc("cache", "dir").strip()).isascii():
        raise ValueError(
            f"{cache}: the path of the DVC cache must be ASCII, because DVC cannot copy other letters into an "
            "experiment; move the repository, or move the cache and say where it is: dvc cache dir --local FOLDER"
        )


def check_experiments_are_found() -> None:
    """Check that DVC takes HEAD for HEAD.

    Raises:
        ValueError: where a killed `dvc exp run` has left its references, to which DVC then looks instead.
    """
    if stale := _stale():
        commit = ask_git("rev-parse", "--short", f"{_EXEC}/EXEC_BASELINE").strip()
        raise ValueError(
            f"{stale[0]}: must be gone, because DVC looks for experiments of {commit} as long as it is there; "
            f"a `dvc exp run` was killed here: {_CURE}"
        )


def repair(_: argparse.Namespace) -> int:
    """Mend what `check_experiments_are_kept` and `check_experiments_are_found` find; remove what killed runs left."""
    stale, shallow = _stale(), _is_shallow()
    if stale:
        _return_to_branch()
        for reference in stale:
            ask_git("update-ref", "-d", reference)
        print("removed what a killed `dvc exp run` had left")
        print("params.yaml may still hold its parameters: git diff params.yaml")
    if shallow:
        ask_git("fetch", "--unshallow")
        print("fetched the whole history")
    killed = killed_copies()
    for experiment, copy in killed.items():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(Path(".dvc/tmp/exps/run") / experiment)
    if killed:
        print(f"removed {len(killed)} temporary {'copy' if len(killed) == 1 else 'copies'} of killed experiments")
    if not stale and not shallow and not killed:
        print("nothing to repair")
    return 0


def _return_to_branch() -> None:
    """Put git on the branch again from which a killed `dvc exp run` took it. Files and index stay as they are."""
    if ask_git("rev-parse", "--abbrev-ref", "HEAD").strip() != "HEAD":
        return
    start = ask_git("rev-parse", f"{_EXEC}/EXEC_HEAD").strip()
    moves = re.findall(rf"^checkout: moving from (\S+) to {start}$", ask_git("reflog", "--format=%gs"), re.MULTILINE)
    branches = ask_git("for-each-ref", "--format=%(refname:short)", "--points-at", start, "refs/heads").split()
    made = ask_git("for-each-ref", "--format=%(objectname)", "refs/exps").split()  # of DVC alone, not by a person
    if moves and moves[0] in branches and ask_git("rev-parse", "HEAD").strip() in (start, *made):
        ask_git("symbolic-ref", "-m", "experiments repair", "HEAD", f"refs/heads/{moves[0]}")
        print(f"git is on the branch {moves[0]} again")
    else:
        print("git is on no branch; this keeps the commits made since, on a new one: git switch -c NAME")


def _stale() -> list[str]:
    """The references of a `dvc exp run` in the workspace that has ended without removing them."""
    names = ask_git("for-each-ref", "--format=%(refname)", _EXEC).split()
    names = [name for name in names if not name.endswith("/EXEC_APPLY")]  # it stays after every run
    return [] if f"{_EXEC}/EXEC_BASELINE" not in names or _is_running() else names


def _is_running() -> bool:
    """Whether a `dvc exp run` is at work in the workspace."""
    return _PROCESS.is_file() and is_process(read_json(_PROCESS)["pid"], "exp")


def killed_copies() -> dict[str, Path]:
    """The temporary copies in which nobody works any more, because their run was killed, by the id of the experiment.

    DVC calls these experiments running for ever.
    """
    killed = {}
    at_work = _working_directories()
    for info in Path(".dvc/tmp/exps/run").glob("*/*.run"):
        values = read_json(info)
        copy = Path(values["root_dir"])
        # A run that begins is in its copy only after a moment.
        fresh = time.time() - info.stat().st_mtime < _BEGINNING_S
        alive = fresh or any(place.is_relative_to(copy) for place in at_work)
        if values["location"] == "tempdir" and not alive and _is_unfinished(values["status"]):
            killed[info.stem] = copy
    return killed


def _is_unfinished(status: int) -> bool:
    """Whether DVC believes that it works on an experiment with this status."""
    from dvc.repo.experiments.executor.base import TaskStatus  # here, because it takes long to load

    return status in (TaskStatus.PENDING, TaskStatus.PREPARING, TaskStatus.RUNNING)


def _working_directories() -> list[Path]:
    places = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            places.append(Path(process.cwd()))
    return places


def is_process(pid: int, word: str) -> bool:
    """Whether there is a process with that number and with that word in its command."""
    try:
        return word in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _is_shallow() -> bool:
    return ask_git("rev-parse", "--is-shallow-repository").strip() == "true"


def _is_project(folder: Path) -> bool:
    return (folder / "dvc.yaml").is_file() and (folder / ".dvc").is_dir()
