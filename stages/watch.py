"""Whether what DVC files with a result is still what the stage has read: parameters, inputs and code.

DVC records the parameters in params.yaml and the hashes of all deps when a stage ends. After an edit during the run
these would not be those that belong to the result. `dvc exp run` writes its parameters to params.yaml even when it is
refused, because another run is busy.
"""

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lm.config.base import read_yaml
from lm.system.files import read_json, sha256
from stages.pipeline import deps_of
from stages.snapshot import CODE, ROOT

# `dvc exp run --temp` and `--queue` put all edits away, and their own parameters in place, for a few seconds. So only a
# change that stays this long counts. The value does not change the result.
PATIENCE_S = float(os.environ.get("STORYLINE_PATIENCE_S", "10"))
_RULE = "until the stage ends, because DVC files what stands there then"
_CURE = "put it back, or run again"

# Where Python and installed packages lie; this can be below our root.
_INSTALLED = tuple({path for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))})

Stat = tuple[int, int]  # size in bytes, time of the last change in ns


class Watched:
    """A file as it was at the start. Without `digest`, its SHA-256, another time of change counts as a change."""

    def __init__(self, path: Path, digest: str | None = None) -> None:
        self.path, self._digest = path, digest
        self._stat = None if digest else _stat(path)  # None: not yet compared with the digest

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        digest = self._digest or sha256(self.path)
        if self._stat in (None, _stat(self.path)):  # otherwise it is that of another content
            self._digest = digest
        return digest

    def changed(self) -> bool:
        """Whether the content is another one now, as far as one can tell."""
        try:
            now = _stat(self.path)
            if now != self._stat:
                if self._digest is None or sha256(self.path) != self._digest:
                    return True
                self._stat = now
        except OSError:  # it is gone
            return True
        return False


class Watch:
    """What must not change while a stage runs.

    `name` is the stage in dvc.yaml, `inputs` are the paths of its flags, `code` is the list of its code, and `params`
    is the params.yaml with `values` in it. All that the list names is watched, whether it is in use yet or not. Without
    a list, this is all code of ours.
    """

    def __init__(
        self, name: str, inputs: Iterable[Path], code: Path | None, params: Path, values: Mapping[str, Any]
    ) -> None:
        self.paused = False  # while other processes watch
        self.inputs = [Watched(path) for path in inputs]
        self._name = name
        deps = deps_of(name)
        listed = _listed(code) if code else CODE
        self.code = [Watched(path, digest) for path, digest in listed.items() if path.is_file()]
        # DVC has not named the stage if it was started by hand. Its other deps may then be those of another run.
        known = {watched.path.resolve() for watched in (*self.inputs, *self.code)}
        more = [path for dep in deps or () if "DVC_STAGE" in os.environ for path in _files(dep) if path not in known]
        self._more = [Watched(path, sha256(path)) for path in more]
        self._declared = {*listed, *(deps or ())} if code else None
        self._params, self._values = params, values
        self._keys: set[str] | None = set()
        self._stat: Stat | None = None  # of params.yaml when the values were last compared

    def watch_key(self, key: str) -> None:
        """Let a key of params.yaml count, or a dotted name in one of its sections."""
        if self._keys is not None:
            self._keys.add(key)
            self._stat = None

    def watch_all_keys(self) -> None:
        """Let the whole params.yaml count."""
        self._keys = self._stat = None

    def check_declared(self) -> None:
        """Raise ValueError when the stage uses code that is nowhere listed, because DVC does not see its edits."""
        if self._declared is None:
            return
        for path in _code_in_use():
            if self._declared.isdisjoint({path, *path.parents}):
                raise ValueError(
                    f"dvc.yaml: stages.{self._name}.deps: must list {path.relative_to(ROOT)}, which the stage uses "
                    "without an `import` of it in lm/ or stages/"
                )

    def changes(self) -> list[str]:
        """An error for each thing that is not as it was."""
        files = [watched.path for watched in (*self.inputs, *self.code, *self._more) if watched.changed()]
        names = [str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path) for path in files]
        return [*(f"{name}: must stay as it was {_RULE}; {_CURE}" for name in names), *self._changed_values()]

    def check_unchanged(self) -> None:
        """Raise ValueError when something has changed, and stays so for `PATIENCE_S`."""
        self.check_declared()
        self._stat = None  # compare once more
        deadline = time.monotonic() + PATIENCE_S
        while changes := self.changes():
            if time.monotonic() > deadline:
                raise ValueError("\n".join(changes))
            time.sleep(0.2)

    def _counts(self, name: str) -> bool:
        """Whether a parameter is watched, as one that differs, inside a watched section or around a watched name."""
        if self._keys is None:
            return True
        return any(f"{name}.".startswith(f"{key}.") or key.startswith(f"{name}.") for key in self._keys)

    def _changed_values(self) -> Iterator[str]:
        """An error for each parameter that has another value now."""
        try:
            stat = _stat(self._params)
            if stat == self._stat:
                return
            now = read_yaml(self._params)
        except (ValueError, OSError) as error:
            yield f"{self._params}: must stay as it was {_RULE}; {_CURE}: {error}"
            return
        differences = [entry for entry in different(self._values, now) if self._counts(entry[0])]
        if not differences:
            self._stat = stat
        for name, was, got in differences:
            yield (
                f"{self._params}: {name}: must stay {was!r} {_RULE}, got {got!r}; {_CURE} "
                "(a refused `dvc exp run` leaves its parameters there)"
            )


def different(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The dotted name of each parameter that differs, with both values; None where it is missing."""
    for key in sorted({*before, *now}, key=str):
        was, got = before.get(key), now.get(key)
        if was != got:
            if isinstance(was, dict) and isinstance(got, dict):
                yield from ((f"{key}.{name}", *values) for name, *values in different(was, got))
            else:
                yield key, was, got


def _listed(place: Path) -> dict[Path, str]:
    """The files in a list of code, as `stages.code` writes it, with their SHA-256.

    Raises:
        ValueError: when the code that runs is another, because DVC would file the result under the code in the list.
    """
    listed = {ROOT / name: digest for name, digest in read_json(place).items()}
    for path, digest in listed.items():
        if CODE.get(path) != digest:
            raise ValueError(
                f"{path.relative_to(ROOT)}: must be as {place} lists it; `dvc repro code` lists the code as it is now"
            )
    return listed


def _files(path: Path) -> list[Path]:
    """The file, or all files in a folder that DVC sees; none when there is nothing."""
    files = (file for file in (path, *path.rglob("*")) if file.is_file())
    return sorted(file for file in files if "__pycache__" not in file.parts)


def _code_in_use() -> Iterator[Path]:
    """The files of this repository that Python has imported, except empty ones, which cannot change a result."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and not file.startswith(_INSTALLED):
            path = Path(file).resolve()
            parts = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else (".",)
            if not any(part.startswith(".") for part in parts) and path.is_file() and path.stat().st_size > 0:
                yield path  # hidden folders hold what others write, such as caches of compilers


def _stat(path: Path) -> Stat:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
