"""Tests of lm/system/gpus.py: real processes and locks; only the driver's listing is a script of ours."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lm.system import gpus
from tests.project import ROOT

JOB = """
import os, sys
from pathlib import Path
from lm.system.gpus import claim_gpu
folder, device = Path(sys.argv[1]), sys.argv[2]
print(claim_gpu(device, folder), claim_gpu(device, folder), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


class Machine:
    """A machine whose driver lists so many GPUs."""

    def __init__(self, path: Path, n_gpus: int | None) -> None:
        self.path = path
        self.jobs: list[subprocess.Popen[str]] = []
        driver = path / "bin" / "nvidia-smi"
        driver.parent.mkdir()
        if n_gpus is not None:
            listing = "\\n".join(f"{index}, GPU-{index:04}" for index in range(n_gpus))
            driver.write_text(f"#!/bin/sh\nprintf '{listing}\\n'\n")
            driver.chmod(0o755)

    def start(self, device: str = "auto", **environment: str) -> str:
        """What a new job claimed: twice, and what CUDA then sees."""
        plain = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        path = f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, str(self.path / "locks"), device],
            cwd=ROOT,
            env=plain | {"PATH": path} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.jobs.append(job)
        assert job.stdout is not None
        return job.stdout.readline().strip()

    def end(self, number: int) -> None:
        """Kill a job."""
        self.jobs[number].kill()
        self.jobs[number].communicate()


@pytest.fixture
def two_gpus(tmp_path: Path) -> Machine:
    return Machine(tmp_path, 2)


def test_each_job_has_a_gpu_of_its_own_until_it_ends(two_gpus: Machine) -> None:
    assert two_gpus.start() == "GPU-0000 GPU-0000 GPU-0000"
    assert two_gpus.start() == "GPU-0001 GPU-0001 GPU-0001"
    assert two_gpus.start() == "None None None"  # all are taken: it shares
    two_gpus.end(0)
    assert two_gpus.start() == "GPU-0000 GPU-0000 GPU-0000"
    for number in range(4):
        two_gpus.end(number)


def test_visible_devices_narrow_the_choice(two_gpus: Machine) -> None:
    assert two_gpus.start(CUDA_VISIBLE_DEVICES="1") == "None None 1"  # the one it was given, no choice
    assert two_gpus.start(CUDA_VISIBLE_DEVICES="1, 0") == "GPU-0001 GPU-0001 GPU-0001"
    assert two_gpus.start() == "GPU-0000 GPU-0000 GPU-0000"
    for number in range(3):
        two_gpus.end(number)


def test_a_job_for_the_cpu_takes_none(two_gpus: Machine) -> None:
    assert two_gpus.start("cpu") == "None None None"
    assert two_gpus.start("cuda") == "GPU-0000 GPU-0000 GPU-0000"
    for number in range(2):
        two_gpus.end(number)


def claim_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What this process claims, with its locks in a folder `locks`; it forgets the claim."""
    monkeypatch.setattr(gpus, "_visible", lambda: ["GPU-0000", "GPU-0001"])
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return gpus.claim_gpu("cuda", path / "locks")


def test_the_folder_of_the_locks_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert claim_here(tmp_path, monkeypatch) == "GPU-0000"
    assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_or_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="locks: must be a folder that only user"):
        claim_here(tmp_path, monkeypatch)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "locks").unlink()
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(0o777)
    with pytest.raises(ValueError, match="locks: must be a folder that only user"):
        claim_here(tmp_path, monkeypatch)


def test_a_lock_empties_no_file_and_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locks").mkdir(mode=0o700)
    (tmp_path / "locks" / "GPU-0000").write_text("mine")
    assert claim_here(tmp_path, monkeypatch) == "GPU-0000"
    assert (tmp_path / "locks" / "GPU-0000").read_text() == "mine"
    (tmp_path / "locks" / "GPU-0000").unlink()
    (tmp_path / "locks" / "GPU-0000").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="GPU-0000"):
        claim_here(tmp_path, monkeypatch)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("n_gpus", [None, 1])
def test_where_there_is_no_choice_nothing_is_claimed(tmp_path: Path, n_gpus: int | None) -> None:
    machine = Machine(tmp_path, n_gpus)
    assert machine.start() == "None None None"
    machine.end(0)


def test_a_device_is_absent_where_nothing_of_its_driver_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [gpus.is_absent(device) for device in ("auto", "cpu", "cuda")] == [False, False, True]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus.is_absent("mps") == (sys.platform != "darwin")
    if torch.cuda.is_available():
        assert not gpus.is_absent("cuda")
