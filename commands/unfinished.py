"""List the saved states of runs, and remove those that nobody will continue.

A run of training that was stopped or killed leaves its state in .resume/. The same command, with the same code, data
and parameters, continues it. The state of a finished run goes by itself, when the next stage finds the run's outs in
dvc.lock. The state of a run that you have given up stays until you remove it here.

  python -m commands.unfinished                               list all states, the newest first
  python -m commands.unfinished --remove 3f2a 77c1            remove two; the first letters of a key are enough
  python -m commands.unfinished --remove all --older-than 30  remove those that were saved more than 30 days ago
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.command_line import Parser
from lm.config.base import read_yaml
from lm.training.saved_runs import FOLDER, STATE, About, folders, is_running, read_about, remove

ROOT = Path(__file__).resolve().parents[1]
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class SavedRun:
    """The folder of a run, as it is listed."""

    path: Path
    about: About | None
    saved_s: float  # when it was written last, in seconds of `time.time`
    size_bytes: int
    running: bool

    @classmethod
    def of(cls, folder: Path) -> "SavedRun":
        """The run of a folder."""
        files = [path.stat() for path in folder.iterdir() if path.name != "lock"]
        saved_s = max((facts.st_mtime for facts in files), default=folder.stat().st_mtime)
        return cls(folder, read_about(folder), saved_s, sum(facts.st_size for facts in files), is_running(folder))


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """List the states, or remove those that the command line names."""
    summary, _, more = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog="python -m commands.unfinished",
        description=summary,
        epilog=more,
    )
    parser.add_argument("--remove", nargs="+", metavar="KEY", help="remove these; `all` stands for every state listed")
    parser.add_argument("--older-than", type=float, default=0, metavar="DAYS", help="only states saved before that")
    arguments = parser.parse(words)
    try:
        if not arguments.older_than >= 0:
            raise ValueError(f"--older-than: must be 0 or more days, got {arguments.older_than:g}")
        now_s = time.time()
        runs = [SavedRun.of(folder) for folder in folders(root / FOLDER)]
        runs = [run for run in runs if now_s - run.saved_s >= arguments.older_than * _DAY_S]
        runs.sort(key=lambda run: -run.saved_s)
        if arguments.remove:
            for line in _remove(runs, arguments.remove):
                print(line)
        else:
            print("\n".join(_listing(runs, read_yaml(root / "params.yaml"))))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def _remove(runs: Sequence[SavedRun], keys: Sequence[str]) -> Iterator[str]:
    chosen: dict[Path, SavedRun] = {}
    for key in keys:
        named = [run for run in runs if key == "all" or run.path.name.startswith(key)]
        if key != "all" and len(named) != 1:
            count = f"{len(named)} keys begin so" if named else "no key begins so"
            raise ValueError(f"--remove: must be a key, or its first letters, got {key!r}: {count}")
        chosen |= {run.path: run for run in named}
    for run in chosen.values():
        if remove(run.path):
            yield f"removed {run.path.name}, {_size(run.size_bytes)}"
        else:
            yield f"kept {run.path.name}: its run is at work"
    if not chosen:
        yield "nothing to remove"


def _listing(runs: Sequence[SavedRun], params: Mapping[str, Any]) -> Iterator[str]:
    if not runs:
        yield "no states of runs are saved"
        return
    here = dict(_flat(params))
    for run in runs:
        saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.saved_s))
        yield f"{run.path.name}  {saved}  {_size(run.size_bytes):>9}  {_progress(run)}"
        if run.about is not None:
            its = dict(_flat(run.about.parameters))
            changes = [f"{name}={value}" for name, value in its.items() if here.get(name) != value]
            yield f"    {', '.join(changes) or 'the parameters of params.yaml'}"
    total = _size(sum(run.size_bytes for run in runs))
    yield f"{len(runs)} {'state' if len(runs) == 1 else 'states'}, {total}; to remove them: make unfinished REMOVE=all"


def _progress(run: SavedRun) -> str:
    if run.about is None:
        if not (run.path / STATE).exists():
            return "at work, nothing saved yet" if run.running else "stopped before anything was saved"
        return "saved by another version, which alone can continue it"
    steps = f"{run.about.section}: {run.about.step:,} of {run.about.n_steps:,} steps"
    if run.running:
        return f"{steps}, at work"
    return f"{steps}, finished, but not found in dvc.lock yet" if run.about.outs is not None else steps


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    main()
