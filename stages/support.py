"""What every stage does besides its work: read flags and parameters, report errors, check that inputs do not change."""

import argparse
import hashlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lm.config.base import Section, load_seed
from lm.system.files import sha256
from lm.training.saved_runs import FOLDER, forget_recorded

AnySection = TypeVar("AnySection", bound=Section)


class Stage:
    """One run of a stage: its paths, its parameters, and what its result depends on.

    `inputs` and `outs` map the name of each path flag to its help text; dvc.yaml gives the paths. Every stage also has
    the flag `--params`.
    """

    def __init__(self, doc: str | None, inputs: dict[str, str], outs: dict[str, str]) -> None:
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        groups = {"inputs": inputs, "outs": outs, "parameters": {"params": "the params.yaml to read"}}
        for title, flags in groups.items():
            group = parser.add_argument_group(title)
            for name, text in flags.items():
                group.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=text)
        self._paths: dict[str, Path] = vars(parser.parse_args())
        self._input_paths = [self._paths[name] for name in inputs]
        self._parameters: dict[str, Section | int] = {}
        missing = [path for path in self._input_paths if not path.exists()]
        if missing:
            raise ValueError(f"{missing[0]}: no such file; `dvc repro` makes it in an earlier stage")
        self._states = self._states_now()

    def path(self, name: str) -> Path:
        """The path of a flag."""
        return self._paths[name]

    def section(self, section: type[AnySection]) -> AnySection:
        """A section of the parameters."""
        values = section.load(self._paths["params"])
        self._parameters[section.name()] = values
        return values

    def aside(self, section: type[AnySection]) -> AnySection:
        """A section that the result does not depend on.

        It is not among the `params` of the stage in dvc.yaml, and it may change while the stage runs.
        """
        return section.load(self._paths["params"])

    def seed(self) -> int:
        """The top-level seed of the parameters."""
        seed = load_seed(self._paths["params"])
        self._parameters["seed"] = seed
        return seed

    def facts(self) -> dict[str, Any]:
        """What the result depends on: the parameters read so far, and hashes of the inputs and of the code in use."""
        return {
            "parameters": {
                name: value.model_dump() if isinstance(value, Section) else value
                for name, value in self._parameters.items()
            },
            "inputs": [sha256(path) for path in self._input_paths],
            "code": hashlib.sha256("".join(sha256(path) for path in _code()).encode()).hexdigest(),
        }

    def check_unchanged(self) -> None:
        """Raise ValueError when an input, a parameter or the code has changed since the start.

        DVC records the hashes of inputs and code when a stage ends. After an edit during a long run these would not be
        the hashes that belong to the result.
        """
        states = self._states_now()
        changed = [str(path) for path, state in self._states.items() if states.get(path) != state]
        for name, value in self._parameters.items():
            path = self._paths["params"]
            now = load_seed(path) if isinstance(value, int) else type(value).load(path)
            if now != value:
                changed.append(f"{path}:{name}")
        if changed:
            raise ValueError(f"{', '.join(changed)}: must not change while the stage runs; run it again")

    def _states_now(self) -> dict[Path, tuple[int, int]]:
        paths = [*self._input_paths, *_code()]
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.exists()}


def run(main: Callable[[Stage], None], doc: str | None, *, inputs: dict[str, str], outs: dict[str, str]) -> None:
    """Run a stage's `main` and end the process: status 0, 1 with a line for each error, or 128 + signal if stopped."""
    _end_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        stage = Stage(doc, inputs, outs)
        forget_recorded(repository_root() / FOLDER, _recorded())
        main(stage)
        stage.check_unchanged()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1)


def repository_root() -> Path:
    """The root of the repository that a run belongs to. DVC names it even if the run works in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def _code() -> list[Path]:
    """Our source files that are in use, sorted."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("lm", "stages")]
    files = [module.__file__ for module in (*modules, sys.modules["__main__"]) if hasattr(module, "__file__")]
    return sorted({Path(file) for file in files if file is not None})


def _recorded() -> set[str]:
    """The MD5s in dvc.lock. DVC writes a stage's outs there after it has hashed and cached them."""
    lock = Path("dvc.lock")
    return set(re.findall(r"\bmd5: ([0-9a-f]{32})", lock.read_text(encoding="utf-8"))) if lock.exists() else set()


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Stop this process when its parent is gone, because a killed `dvc` must not leave a running stage behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
