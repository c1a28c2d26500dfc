"""The folders in which runs keep their states, one for each run: who holds it, what it says, and when it may go."""

import fcntl
import os
import shutil
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from lm.system.files import read_json, write_json

FOLDER = ".resume"  # holds the folders of all runs; it lies at the root of the repository
STATE = "state.npz"
_ABOUT = "about.json"


@dataclass(frozen=True)
class About:
    """What a folder says about its run. `outs` are the MD5s of what a finished run has written; None before that."""

    section: str
    step: int
    n_steps: int
    parameters: dict[str, Any]
    outs: list[str] | None = None


def write_about(folder: Path, about: About) -> None:
    """Replace what a folder says about its run."""
    write_json(folder / _ABOUT, asdict(about))


def read_about(folder: Path) -> About | None:
    """What a folder says about its run; None if it says nothing that can be understood."""
    try:
        return About(**read_json(folder / _ABOUT))
    except (ValueError, TypeError, OSError):
        return None


def lock_folder(folder: Path) -> IO[bytes] | None:
    """The lock of a folder, which is made if it is not there; held until it is closed. None if another process has it.

    A lock that its holder has removed meanwhile, with the folder, locks nothing: then the next one is tried.
    """
    place = folder / "lock"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = place.open("wb")
        except (FileNotFoundError, FileExistsError):  # the folder has just been removed
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                return lock
        lock.close()


def remove_locked(folder: Path) -> None:
    """Remove a folder whose lock this process holds. The name goes at once, so that nobody finds half a folder."""
    gone = folder.with_name(f".{folder.name}.{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)  # `folders` removes what is left


def remove(folder: Path) -> bool:
    """Remove a folder, unless a process holds it. Returns whether it is gone."""
    lock = lock_folder(folder)
    if lock is None:
        return False
    with lock:
        remove_locked(folder)
    return True


def is_running(folder: Path) -> bool:
    """Whether a process holds a folder."""
    lock = lock_folder(folder)
    if lock is not None:
        lock.close()
    return lock is None


def folders(root: Path) -> Iterator[Path]:
    """The folders of all runs below `root`, by name. What a killed process had begun to remove is removed first."""
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir():
            yield path


def forget_recorded(root: Path, recorded: Container[str]) -> None:
    """Remove the folders of finished runs whose outs are all `recorded`, by MD5, and those that hold no state.

    Until its outs are recorded, a finished run may have to write them again.
    """
    for folder in folders(root):
        about = read_about(folder)
        done = about is not None and about.outs is not None and all(md5 in recorded for md5 in about.outs)
        if done or not (folder / STATE).exists():
            with suppress(OSError):  # of another user, perhaps; nothing depends on it
                remove(folder)
