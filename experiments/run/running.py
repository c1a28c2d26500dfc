"""Running experiments, one after the other or through DVC's queue."""

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.define.definitions import Run, flatten
from experiments.run.engine import Result, State, ask_dvc, command, results, run_dvc, uncommitted

POLL_S = 15


def run_all(
    runs: Sequence[Run], params: Mapping[str, Any], *, queue: bool = False, jobs: int = 0, force: bool = False
) -> int:
    """The exit status: 0 when all runs are done or queued, 1 when one failed.

    Each runs in a temporary copy of the workspace, which stays as it is. What is done already is left alone, so a set
    that was stopped goes on where it was. With `jobs` it returns when that many workers have emptied the queue.

    Raises:
        ValueError: before anything runs, when an experiment of a name exists with other parameters.
    """
    waiting = _not_done(runs, params, {} if force else results())
    if changed := uncommitted():
        print(f"note: uncommitted changes are part of these experiments: {', '.join(changed)}", flush=True)
    failed = []
    for number, run in enumerate(waiting, start=1):
        words = command(run, params, "--queue" if queue else "--temp", *(["--force"] if force else []))
        print(f"[{number}/{len(waiting)}] {shlex.join(words)}", flush=True)
        if not _start(words, quiet=queue):
            failed.append(run.name)
    if failed:
        print(f"{len(failed)} of {len(waiting)} failed: {', '.join(failed)}; the same command tries them again")
    if queue:
        print("log of one: dvc queue logs NAME; all of them: dvc queue status; end them: dvc queue stop --kill")
        if not jobs:
            print("start: dvc queue start --jobs 1")
        elif _work([run.name for run in runs], jobs):
            return 1
    return 1 if failed else 0


def _start(words: list[str], quiet: bool) -> bool:
    """Whether a command of dvc's succeeded; a quiet one is heard only when it fails."""
    if not quiet:
        return run_dvc(words) == 0
    try:
        ask_dvc(*words[1:])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True


def _not_done(runs: Sequence[Run], params: Mapping[str, Any], known: Mapping[str, Result]) -> list[Run]:
    """The runs that are still to do; says which are not."""
    waiting = []
    for run in runs:
        wanted = flatten(run.parameters(params))
        there = known.get(run.name)
        if there is None or there.state == "failed":
            waiting.append(run)
            continue
        if different := [key for key, value in wanted.items() if there.parameters.get(key) != value]:
            key = different[0]
            raise ValueError(
                f"{run.name}: an experiment of this name has {key}={there.parameters.get(key)!r}, now {wanted[key]!r}; "
                f"add --force to replace it, or remove it: dvc exp remove {run.name}"
            )
        print(f"{run.name} is {there.state} already")
    return waiting


def _work(names: Sequence[str], jobs: int) -> int:
    """Keep workers at DVC's queue until these experiments are through; the exit status is 1 when one of them failed.

    A worker of DVC's dies when it reads a message that another process is just writing
    (https://github.com/treeverse/dvc/pull/7903): seen once in twenty minutes on a busy machine. The job in hand is
    finished, but none after it is begun. So workers are started again as long as there is something to do.
    """
    # Several trainers that each take every core get in each other's way.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    print(f"{jobs} workers, each with OMP_NUM_THREADS={threads}; Ctrl-C leaves them at work")
    before: Counter[State] = Counter()
    while True:
        known = results()
        states = {name: known[name].state for name in names if name in known}
        counts = Counter(states.values())
        if counts != before:
            print(", ".join(f"{counts[state]} {state}" for state in sorted(counts)), flush=True)
            before = counts
        if not counts["queued"] and not counts["running"]:
            break
        if counts["queued"]:
            ask_dvc("queue", "start", "--jobs", str(jobs), OMP_NUM_THREADS=threads)
        time.sleep(POLL_S)
    failed = [name for name, state in states.items() if state == "failed"]
    for name in failed:
        print(f"{name} failed: dvc queue logs {name}")
    return 1 if failed else 0
