"""DVC's queue: its workers, watched until the jobs are done."""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from experiments.run.dvc_commands import ask_dvc
from experiments.run.repository import is_process
from experiments.run.results import Result, State, load_results

POLL_S = 15
ATTEMPTS = 3  # of one job
ANSWER_S = 5  # for which a worker may be busy before it says what it works on


def work_off_queue(commands: Mapping[str, list[str]], jobs: int) -> int:
    """Keep DVC's workers running until these experiments are done; the exit status is 1 when one has no result.

    A worker of DVC dies when it reads a message while another process is still writing it
    (https://github.com/treeverse/dvc/pull/7903): we saw it once in twenty minutes on a busy machine. If it dies between
    two jobs, this function starts another. If it dies in a job, DVC calls the job running for ever: it is queued again
    once its process has ended, too. So is a job that failed by DVC's own doing, because two workers wrote one file.

    Args:
        commands: By the name of each experiment, the words that queue it.
        jobs: The number of workers.
    """
    # Several trainers that each use every core slow each other down.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    print(f"{jobs} workers, each with OMP_NUM_THREADS={threads}; after Ctrl-C they continue to work")
    before: Counter[State] = Counter()
    attempts = dict.fromkeys(commands, 1)
    suspects: set[str] = set()
    while True:
        results = {name: result for name, result in load_results().items() if name in commands}
        counts = Counter(result.state for result in results.values())
        if counts != before:
            print(", ".join(f"{counts[state]} {state}" for state in sorted(counts)), flush=True)
            before = counts
        again = {name for name, result in results.items() if result.state == "failed" and failed_by_dvc(result)}
        # A job whose process has ended may be in the hands of its worker for a moment, so it must be found so twice.
        orphans = {name for name, result in results.items() if result.state == "running" and not has_process(result)}
        orphans -= jobs_of_workers() if orphans else set()
        lost, suspects = orphans & suspects, orphans - suspects
        for name in lost:
            ask_dvc("queue", "kill", name)  # nothing is left to kill, but DVC then calls the job failed
            if attempts[name] == ATTEMPTS:
                print(f"{name} has lost its worker {ATTEMPTS} times", flush=True)
        queued = [name for name in sorted(lost | again) if attempts[name] < ATTEMPTS]
        for name in queued:
            print(f"{name} is queued again, because {'its worker died' if name in lost else 'DVC failed'}", flush=True)
            attempts[name] += 1
            ask_dvc(*commands[name][1:])
        if counts["queued"] or queued:
            ask_dvc("queue", "start", "--jobs", str(jobs), OMP_NUM_THREADS=threads)
        elif not counts["running"]:
            break
        time.sleep(POLL_S)
    for name in (missing := [name for name in commands if name not in results or results[name].state != "done"]):
        said = f"failed: dvc queue logs {name}" if name in results else "has neither a result nor a job"
        print(f"{name} {said}", file=sys.stdout if name in results else sys.stderr)
    return 1 if missing else 0


def has_process(result: Result) -> bool:
    """Whether the process that runs a job is alive."""
    return result.pid is not None and is_process(result.pid, "exec-run")


def failed_by_dvc(result: Result) -> bool:
    """Whether DVC itself failed in a job, and not the command of a stage: its log ends with another error."""
    if result.log is None or not result.log.is_file():
        return False
    errors = [line for line in _lines(result.log) if "failed to reproduce" in line]
    return bool(errors) and "failed to run" not in errors[-1]


def jobs_of_workers() -> set[str]:
    """The names of the jobs that the workers say they have in hand."""
    from dvc.repo import Repo  # here, because it takes long to load

    with Repo() as repo:
        active = repo.experiments.celery_queue.celery.control.inspect(timeout=ANSWER_S).active() or {}
    return {task["args"][0]["name"] for tasks in active.values() for task in tasks if task["args"]}


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()
