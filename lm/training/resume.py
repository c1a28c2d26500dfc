"""The saved state of a run on disk: written atomically, found again by its key, used by one process at a time."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.system.files import replacing
from lm.training.backend import State
from lm.training.saved_runs import STATE, lock_folder

_VALUES = "values"


def resume_key(facts: Mapping[str, Any]) -> str:
    """A name for everything that a run's result depends on: parameters, data, code, versions."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def save_state(path: Path, state: State) -> None:
    """Write a state to an .npz file in place of the previous one. A kill in the middle leaves the previous one."""
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **state.arrays, **{_VALUES: np.array(json.dumps(state.values))})


def load_state(path: Path) -> State:
    """The state in an .npz file.

    Raises:
        ValueError: when the file is damaged.
    """
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive.items())
            return State(arrays, json.loads(str(arrays.pop(_VALUES))))
        except (ValueError, KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            # Some changed byte of a zip archive of arrays leads to each of these errors.
            raise ValueError(f"{path}: is damaged ({error}); delete it, and the run starts anew") from None


class ResumeFolder:
    """The folder of one run. Use `open_resume_folder`, which locks it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = path / STATE

    def keep(self, step: int, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the weights after a step, beside the state. The run writes the same ones if it takes the step again."""
        save_state(self._snapshot(step), State(dict(weights), {}))

    def kept(self, step: int) -> dict[str, NDArray[np.float32]] | None:
        """The weights that `keep` was given for that step; None if there are none. Raises as `load_state` does."""
        path = self._snapshot(step)
        return load_state(path).arrays if path.exists() else None

    def _snapshot(self, step: int) -> Path:
        return self.path / f"snapshot-{step}.npz"

    def save(self, state: State) -> None:
        """Replace the saved state."""
        save_state(self._state, state)

    def load(self) -> State | None:
        """The saved state, or None where there is none. Raises as `load_state` does."""
        return load_state(self._state) if self._state.exists() else None


@contextmanager
def open_resume_folder(root: Path, key: str) -> Iterator[ResumeFolder]:
    """The folder of the run with that key under `root`, locked until the block ends.

    Raises:
        ValueError: when another process has locked it: a stage that outlived its `dvc repro`, or a second `dvc repro`.
    """
    path = root / key
    lock = lock_folder(path)
    if lock is None:
        raise ValueError(
            f"{path}: the same training already runs in another process; wait for it, or stop it and run again"
        )
    with lock:
        for draft in path.glob(".*.draft"):  # of a process that was killed while it saved
            draft.unlink()
        yield ResumeFolder(path)
