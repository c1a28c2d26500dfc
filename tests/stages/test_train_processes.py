"""The train stage with two processes, under the real `dvc`: results, repetition, interruption, errors."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.formats.model_file import load_weights
from lm.system.files import md5
from lm.system.processes import n_cores
from lm.training.saved_runs import read_about
from tests.project import load_pipeline
from tests.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.skipif(n_cores() < 2, reason="needs two CPU cores")]

STAGE = load_pipeline()["stages"]["train"]
MODEL = "models/base/model.safetensors"
OUTS = [name for out in (*STAGE["outs"], *STAGE["metrics"]) for name in ([out] if isinstance(out, str) else out)]
FLAGS = shlex.split(STAGE["cmd"].partition("stages.train")[2])
TRAIN = ("python", "-m", "stages.train", *FLAGS)
BY_DVC = ("dvc", "repro", "--force", "--single-item", "train")
SAVE_AT_EVERY_STEP = {"STORYLINE_SAVE_EVERY_S": "0"}
PAIR: dict[str, Any] = {"processes": 2, "steps": 60}

Outs = dict[str, bytes]


@pytest.fixture(scope="module")
def workspace(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose stages before training are done."""
    workspace = micro.copy(tmp_path_factory.mktemp("pair"))
    workspace.only("train")
    workspace.undo(["train"])
    return workspace


@pytest.fixture(scope="module")
def parameters(workspace: Workspace) -> str:
    """The parameters of a pair."""
    workspace.set("train", **PAIR)
    return workspace.read("params.yaml").decode()


@pytest.fixture(scope="module")
def whole(workspace: Workspace, parameters: str) -> Outs:
    """What a run of two processes that is never stopped leaves."""
    (workspace.path / "params.yaml").write_text(parameters)
    output = workspace.run("dvc", "repro", "--single-item", "train")
    assert output.count("2 processes, 1 thread each") == 1  # the leader alone speaks
    shutil.rmtree(workspace.path / ".resume")  # its last state, which no stage has seen in dvc.lock yet
    return outs_of(workspace)


@pytest.fixture(autouse=True)
def as_it_was(workspace: Workspace, parameters: str) -> Iterator[None]:
    """The parameters of a pair before each test, and no process or state left after it."""
    (workspace.path / "params.yaml").write_text(parameters)
    yield
    assert stage_processes(workspace) == {}
    shutil.rmtree(workspace.path / ".resume", ignore_errors=True)


def outs_of(workspace: Workspace) -> Outs:
    return {name: workspace.read(name) for name in OUTS}


def clear(workspace: Workspace) -> None:
    """Remove what an earlier run left."""
    for name in OUTS:
        path = workspace.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def stage_processes(workspace: Workspace) -> dict[str | None, int]:
    """The processes of the stage in this workspace by rank; the one that launched the others has none."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"stages.train" in (process / "cmdline").read_bytes() and (process / "cwd").readlink() == workspace.path:
                environment = dict(part.partition("=")[::2] for part in (process / "environ").read_text().split("\0"))
                found[environment.get("RANK")] = int(process.name)
        except OSError:  # it has just ended
            continue
    return found


def start_and_wait(
    workspace: Workspace, step: int, command: Sequence[str] = TRAIN, **environment: str
) -> subprocess.Popen[str]:
    """The stage in the background, once it has saved that step."""
    clear(workspace)
    process = workspace.start(*command, **SAVE_AT_EVERY_STEP, **environment)
    workspace.wait_for_step(step, process)
    return process


def errors_in(output: str) -> list[str]:
    assert "Traceback" not in output
    return [line for line in output.splitlines() if line.startswith("error: ")]


def test_a_second_run_launched_by_torchrun_gives_the_same_bytes(workspace: Workspace, whole: Outs) -> None:
    clear(workspace)
    workspace.set("train", processes="auto")
    torchrun = shlex.split("python -m torch.distributed.run --standalone --nproc-per-node 2")
    output = workspace.run(*torchrun, "-m", "stages.train", *FLAGS)
    assert output.count("2 processes, 1 thread each") == 1
    assert outs_of(workspace) == whole


def test_a_killed_worker_is_one_clear_line_and_the_next_run_goes_on(workspace: Workspace, whole: Outs) -> None:
    process = start_and_wait(workspace, 3)
    pids = stage_processes(workspace)
    assert pids.keys() == {None, "0", "1"}
    os.kill(pids["1"], signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert errors_in(output) == ["error: process 1 of 2 was killed by SIGKILL, perhaps because memory ran out"]
    assert stage_processes(workspace) == {}
    assert not any((workspace.path / name).exists() for name in OUTS)

    # The next run loses its leader.
    process = start_and_wait(workspace, workspace.steps_saved() + 3)
    os.kill(stage_processes(workspace)["0"], signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert errors_in(output) == ["error: process 0 of 2 was killed by SIGKILL, perhaps because memory ran out"]

    assert f"resumed after step {workspace.steps_saved()}" in workspace.run(*TRAIN)
    assert outs_of(workspace) == whole
    (folder,) = workspace.path.glob(".resume/*")
    about = read_about(folder)
    assert about is not None
    files = [path for path in (workspace.path / name for name in OUTS) if path.is_file()]
    assert sorted(about.outs or []) == sorted(map(md5, files))


def test_a_stopped_pair_goes_on_alone_and_the_model_says_so(workspace: Workspace, whole: Outs) -> None:
    process = start_and_wait(workspace, 3)
    launcher = stage_processes(workspace)[None]
    os.kill(launcher, signal.SIGTERM)
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    stopped_after = workspace.steps_saved()
    assert output.count(f"stopped after step {stopped_after}; the same run goes on from there") == 1
    assert errors_in(output) == []

    workspace.set("train", processes=1)
    output = workspace.run(*TRAIN)
    assert f"resumed after step {stopped_after}" in output
    assert (
        "some steps were computed in another way (processes 2, now 1): equal to an unbroken run within rounding, "
        "not bit for bit" in output
    )
    weights, card = load_weights(workspace.path / MODEL)
    assert [(part["from_step"], part["processes"]) for part in card.computed] == [(0, 2), (stopped_after, 1)]
    (workspace.path / "whole.safetensors").write_bytes(whole[MODEL])
    expected, its_card = load_weights(workspace.path / "whole.safetensors")
    assert [(part["from_step"], part["processes"]) for part in its_card.computed] == [(0, 2)]
    for name, weight in weights.items():
        # Roundings of 1e-7 that sixty steps of training may amplify; another batch would show in the second decimal.
        np.testing.assert_allclose(weight, expected[name], rtol=0, atol=5e-3, err_msg=name)


def test_ctrl_c_and_a_killed_dvc_end_all_processes_and_with_dropout_one_alone_does_not_go_on(
    workspace: Workspace,
) -> None:
    dropout = workspace.read("params.yaml").decode().replace("dropout: 0.0", "dropout: 0.1")
    (workspace.path / "params.yaml").write_text(dropout)
    process = start_and_wait(workspace, 3, BY_DVC)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to dvc and to the stage
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert "goes on from there" in output
    assert errors_in(output) == []

    process = start_and_wait(workspace, workspace.steps_saved() + 3, BY_DVC)
    process.kill()
    deadline = time.monotonic() + 60
    while stage_processes(workspace):
        assert time.monotonic() < deadline, "a trainer outlived dvc"
        time.sleep(0.1)
    process.communicate()
    assert workspace.steps_saved() > 3

    workspace.set("train", processes=1)
    assert "resumed" not in workspace.run(*TRAIN)


def test_an_edit_ends_a_pair_with_one_line_and_its_state_is_saved(workspace: Workspace) -> None:
    workspace.set("train", steps=20_000)  # which last longer than the patience
    process = start_and_wait(workspace, 3, STORYLINE_PATIENCE_S="1")
    name = "lm/reference/norm.py"  # which a run in PyTorch never imports
    before = workspace.read(name)
    (workspace.path / name).write_bytes(before + b"# edited\n")
    output = process.communicate(timeout=120)[0]
    (workspace.path / name).write_bytes(before)
    assert process.returncode != 0
    assert [error.partition(" until ")[0] for error in errors_in(output)] == [f"error: {name}: must stay as it was"]
    assert f"stopped after step {workspace.steps_saved()}; the same run goes on from there" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"processes": n_cores() + 1},
            f"train.processes: must be at most the {n_cores()} CPU cores here, got {n_cores() + 1}",
        ),
        (
            {"batch_size": 5},
            "train.batch_size: each of its 1 parts must divide among 2 processes, got 5 sequences a part",
        ),
    ],
)
def test_a_mistake_gives_one_line(workspace: Workspace, changes: dict[str, Any], message: str) -> None:
    workspace.set("train", **changes)
    output = workspace.run(*TRAIN, status=1)
    assert errors_in(output) == [f"error: {message}"]


def test_a_run_that_diverges_says_so_once_and_keeps_its_state(workspace: Workspace) -> None:
    workspace.set("train", learning_rate=1e30, clip_norm=None)
    output = workspace.run(*TRAIN, status=1)
    (error,) = errors_in(output)
    assert error.startswith("error: train: loss and gradient norm must stay finite, got ")
    assert "goes on from there" in output
    assert workspace.steps_saved() > 0
