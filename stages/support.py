"""What every stage does besides its work: read flags and parameters, report errors, check that inputs do not change."""

import argparse
import gc
import hashlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lm.config.base import Section, parse_seed, read_yaml
from lm.system.stopping import UntilClosed, leave_terminal, stop_signals
from lm.training.saved_runs import FOLDER, forget_recorded
from stages import experiment
from stages.watch import PATIENCE_S, Watch

AnySection = TypeVar("AnySection", bound=Section)
_LOOK_EVERY_S = 0.5


class Stage:
    """One run of a stage: its paths, its parameters, and what its result depends on.

    `inputs` and `outs` map the name of each path flag to its help text; dvc.yaml gives the paths. Every stage also has
    the flags `--params` and `--code`. The parameters are those at the start: params.yaml is read once.
    """

    def __init__(self, doc: str | None, inputs: dict[str, str], outs: dict[str, str]) -> None:
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        groups = {"inputs": inputs, "outs": outs, "parameters": {"params": "the params.yaml to read"}}
        for title, flags in groups.items():
            group = parser.add_argument_group(title)
            for name, text in flags.items():
                group.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=text)
        group.add_argument("--code", type=Path, metavar="PATH", help="the list of its code that DVC sees")
        self._paths: dict[str, Path] = vars(parser.parse_args())
        input_paths = [self._paths[name] for name in inputs]
        read = [*input_paths, *filter(None, [self._paths["code"]])]
        missing = [path for path in read if not path.exists()]
        if missing:
            raise ValueError(f"{missing[0]}: no such file; `dvc repro` makes it in an earlier stage")
        self._read: dict[str, Section | int] = {}
        noted = experiment.noted_parameters() if experiment.is_experiment() else None
        self.parameters = noted or read_yaml(self.path("params"))
        self.watch = Watch(_name(), input_paths, self._paths["code"], self.path("params"), self.parameters)
        self.watch.check_declared()
        if experiment.is_experiment():
            self.watch.watch_all_keys()
            self.watch.check_unchanged()

    def path(self, name: str) -> Path:
        """The path of a flag."""
        return self._paths[name]

    def section(self, section: type[AnySection], *names: str) -> AnySection:
        """A section of the parameters. With `names`, the result depends on these alone, as dvc.yaml says."""
        values = self.aside(section)
        self._read[section.name()] = values
        for key in [f"{section.name()}.{name}" for name in names] or [section.name()]:
            self.watch.watch_key(key)
        return values

    def aside(self, section: type[AnySection]) -> AnySection:
        """A section that the result does not depend on.

        It is not among the `params` of the stage in dvc.yaml, and it may change while the stage runs.
        """
        return section.parse(self._value(section.name()))

    def seed(self) -> int:
        """The top-level seed of the parameters."""
        seed = parse_seed(self._value("seed"))
        self._read["seed"] = seed
        self.watch.watch_key("seed")
        return seed

    @contextmanager
    def watched_by_others(self) -> Iterator[None]:
        """A block in which processes that this one has started watch for edits, so that an edit is told once."""
        self.watch.paused = True
        yield
        self.watch.paused = False

    def facts(self) -> dict[str, Any]:
        """What the result depends on: the parameters read so far, and hashes of the inputs and of the code."""
        code = sorted(watched.digest for watched in self.watch.code)
        return {
            "parameters": {
                name: value.model_dump() if isinstance(value, Section) else value for name, value in self._read.items()
            },
            "inputs": [watched.digest for watched in self.watch.inputs],
            "code": hashlib.sha256("".join(code).encode()).hexdigest(),
        }

    def check_unchanged(self) -> None:
        """Raise ValueError when an input, a parameter or the code has changed since the start (see `stages.watch`)."""
        self.watch.check_unchanged()

    def _value(self, key: str) -> Any:
        if key not in self.parameters:
            raise ValueError(f"{self.path('params')}: must have the key {key!r}; compare it with that of this version")
        return self.parameters[key]


def run(main: Callable[[Stage], None], doc: str | None, *, inputs: dict[str, str], outs: dict[str, str]) -> None:
    """Run a stage's `main` and end the process: status 0, 1 with a line for each error, or 128 + signal if stopped."""
    for number in stop_signals()[1:]:  # Python turns Ctrl-C into KeyboardInterrupt by itself
        signal.signal(number, _interrupt)
    guard = _Guard()
    with redirect_stdout(UntilClosed(sys.stdout)), redirect_stderr(UntilClosed(sys.stderr)):
        try:
            stage = Stage(doc, inputs, outs)
            forget_recorded(repository_root() / FOLDER, _recorded())
            if os.environ.get("RANK", "0") == "0":  # the leader stops its team
                guard.watch = stage.watch
            main(stage)
            guard.watch = None
            stage.check_unchanged()
        except KeyboardInterrupt:
            if guard.reason is None:
                print("stopped", file=sys.stderr)
                sys.exit(128 + signal.SIGINT)
            _fail(guard.reason)
        except (ValueError, OSError) as error:
            _fail(error)
        finally:
            signal.signal(signal.SIGTERM, lambda *_: None)  # it ends now, and need not be told by its guard any more
            gc.freeze()  # or Python would look for garbage in all that imports have made, for a third of a second


def repository_root() -> Path:
    """The root of the repository that a run belongs to. DVC names it even if the run works in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


class _Guard:
    """A thread that asks this process to stop when nobody waits for it, or DVC would file its result under an edit.

    It sends SIGTERM, because a stage that trains then saves its state. A killed `dvc` must leave no stage behind.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.reason: ValueError | None = None
        self._parent = os.getppid()
        self._since: float | None = None  # when the changes were first seen
        self._n_modules = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(_LOOK_EVERY_S)
            if self.watch and not self.watch.paused and not self.reason and (reason := self._mistake(self.watch)):
                self.reason = reason
                os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def _mistake(self, watch: Watch) -> ValueError | None:
        try:
            if self._n_modules != len(sys.modules):
                self._n_modules = len(sys.modules)
                watch.check_declared()
        except ValueError as error:
            return error
        changes, now = watch.changes(), time.monotonic()
        self._since = (self._since or now) if changes else None
        return ValueError("\n".join(changes)) if self._since and now - self._since > PATIENCE_S else None


def _fail(error: Exception) -> NoReturn:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def _name() -> str:
    """The name of the stage that runs, which is the name of its module."""
    spec = sys.modules["__main__"].__spec__
    return spec.name.rpartition(".")[2] if spec else ""


def _recorded() -> set[str]:
    """The MD5s in dvc.lock. DVC writes a stage's outs there after it has hashed and cached them."""
    lock = Path("dvc.lock")
    return set(re.findall(r"\bmd5: ([0-9a-f]{32})", lock.read_text(encoding="utf-8"))) if lock.exists() else set()


def _interrupt(signum: int, frame: object) -> None:
    leave_terminal(signum)
    raise KeyboardInterrupt
