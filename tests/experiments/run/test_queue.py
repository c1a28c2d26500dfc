"""The queue is watched until every experiment has a result; DVC and its workers are played by a short script."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.run import queue
from experiments.run.results import Result, State
from tests.experiments.results_by_hand import made_result, made_run

RUN = made_run("a")
COMMANDS = {RUN.name: ["dvc", "exp", "run", "--queue", "-n", RUN.name]}
DEAD = 2**31 - 1  # no process has this number


class Dvc:
    """The states that DVC reports one after another, and the commands that it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *reports: Result | None) -> None:
        self.commands: list[str] = []
        self.reports: Iterator[Result | None] = iter(reports)
        monkeypatch.setattr(queue, "load_results", lambda: {r.name: r for r in [next(self.reports)] if r})
        monkeypatch.setattr(queue, "ask_dvc", lambda *words, **_: self.commands.append(" ".join(words)))
        monkeypatch.setattr(queue, "jobs_of_workers", set)
        monkeypatch.setattr(queue, "POLL_S", 0)


def job(state: State, pid: int | None = None, log: Path | None = None) -> Result:
    return replace(made_result(RUN, 0.5), state=state, pid=pid, log=log)


ADD, START, KILL = " ".join(COMMANDS[RUN.name][1:]), "queue start --jobs 2", f"queue kill {RUN.name}"


@pytest.mark.parametrize("pid", [None, DEAD])
def test_a_job_whose_worker_died_is_queued_again(monkeypatch: pytest.MonkeyPatch, pid: int | None) -> None:
    running = job("running", pid)
    dvc = Dvc(monkeypatch, job("queued"), running, running, job("running"), job("done"))
    assert queue.work_off_queue(COMMANDS, 2) == 0
    assert dvc.commands == [START, KILL, ADD, START]


def test_a_job_that_loses_every_worker_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = [job("running", DEAD)] * 2
    dvc = Dvc(monkeypatch, *lost, job("queued"), *lost, job("queued"), *lost, job("failed"))
    assert queue.work_off_queue(COMMANDS, 2) == 1
    assert dvc.commands.count(ADD) == 2
    assert capsys.readouterr().out.endswith(f"{RUN.name} failed: dvc queue logs {RUN.name}\n")


def test_a_job_that_its_worker_has_in_hand_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = Dvc(monkeypatch, *[job("running", DEAD)] * 4, job("done"))
    monkeypatch.setattr(queue, "jobs_of_workers", lambda: {RUN.name})
    assert queue.work_off_queue(COMMANDS, 2) == 0
    assert dvc.commands == []


def test_a_job_that_dvc_failed_is_queued_again_and_one_whose_stage_failed_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "job.out"
    log.write_text("ERROR: failed to reproduce 'inputs': unable to remove '/a' without a confirmation. Use `-f`\n")
    dvc = Dvc(monkeypatch, job("failed", DEAD, log), job("done"))
    assert queue.work_off_queue(COMMANDS, 2) == 0
    assert dvc.commands == [ADD, START]

    log.write_text("ERROR: failed to reproduce 'train': failed to run: exec python -m stages.train, exited with 1\n")
    dvc = Dvc(monkeypatch, job("failed", DEAD, log))
    assert queue.work_off_queue(COMMANDS, 2) == 1
    assert dvc.commands == []


def test_a_job_that_vanishes_is_no_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Dvc(monkeypatch, None)
    assert queue.work_off_queue(COMMANDS, 2) == 1
    assert capsys.readouterr().err == f"{RUN.name} has neither a result nor a job\n"
