"""Run experiments, one after the other or through DVC's queue."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.define.experiment_set import Run
from experiments.define.parameters import decides_results, flatten
from experiments.run.dvc_commands import ask_dvc, exp_run_command, run_dvc, uncommitted_files
from experiments.run.queue import work_off_queue
from experiments.run.repository import check_experiments_are_kept
from experiments.run.results import Result, experiment_commit, load_results
from experiments.run.start import PARAMS, Start


def run_all(runs: Sequence[Run], start: Start, *, queue: bool = False, jobs: int = 0, force: bool = False) -> int:
    """The exit status: 0 when all runs are done or queued, 1 when a run failed or left no experiment.

    Each run happens in a temporary copy of the workspace, so the workspace itself does not change. It starts from the
    committed params.yaml: what else stands there is not part of it. A run that is already done is not repeated, so a
    set that was stopped can be continued. With `jobs`, the function returns when that many workers have emptied the
    queue.

    Raises:
        ValueError: before anything runs, when an experiment has the name of a run, but other parameters.
    """
    check_experiments_are_kept()
    waiting = _not_done(runs, start.params, {} if force else load_results())
    for line in _notes(start):
        print(f"note: {line}", flush=True)
    failed = []
    for number, run in enumerate(waiting, start=1):
        words = _words(run, start, queue, force)
        print(f"[{number}/{len(waiting)}] {shlex.join(words)}", flush=True)
        before = experiment_commit(run.name)
        if not _start(words, quiet=queue):
            failed.append(run.name)
        elif not queue and experiment_commit(run.name) in (None, before):
            print(f"error: {run.name}: dvc ended well, but there is no such experiment", file=sys.stderr)
            failed.append(run.name)
    if failed:
        print(f"{len(failed)} of {len(waiting)} failed: {', '.join(failed)}; the same command tries them again")
    if queue:
        print("log of one job: dvc queue logs NAME; state of all: dvc queue status; stop all: dvc queue stop --kill")
        if not jobs:
            print("start: dvc queue start --jobs 1")
        elif work_off_queue(
            {run.name: _words(run, start, queue, force) for run in runs if run.name not in failed}, jobs
        ):
            return 1
    return 1 if failed else 0


def _words(run: Run, start: Start, queue: bool, force: bool) -> list[str]:
    options = ["--queue" if queue else "--temp", *(["--force"] if force else [])]
    return exp_run_command(run, start.params, start.workspace, *options)


def _notes(start: Start) -> list[str]:
    """What the workspace holds besides the commit, and whether it is part of the experiments."""
    notes = []
    if changed := [name for name in uncommitted_files() if name != str(PARAMS)]:
        notes.append(f"uncommitted changes are part of these experiments: {', '.join(changed)}")
    if differences := start.differences():
        listed = "; ".join(differences)
        notes.append(f"experiments start from the committed {PARAMS}, not from the edited one: {listed}")
    return notes


def _start(words: list[str], quiet: bool) -> bool:
    """Whether a dvc command succeeded. A quiet command prints only its error."""
    if not quiet:
        return run_dvc(words) == 0
    try:
        ask_dvc(*words[1:])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True


def _not_done(runs: Sequence[Run], params: Mapping[str, Any], results: Mapping[str, Result]) -> list[Run]:
    """The runs that are still to do. Prints a line for each of the others."""
    waiting = []
    for run in runs:
        wanted = flatten(run.parameters(params))
        result = results.get(run.name)
        if result is None or result.state == "failed":
            waiting.append(run)
            continue
        differ = [key for key, value in wanted.items() if result.parameters.get(key) != value]
        if different := [key for key in differ if decides_results(key)]:
            key = different[0]
            raise ValueError(
                f"{run.name}: an experiment of this name has {key}={result.parameters.get(key)!r}, "
                f"now {wanted[key]!r}; add --force to replace it, or remove it: dvc exp remove {run.name}"
            )
        print(f"{run.name} is {result.state} already")
    return waiting
