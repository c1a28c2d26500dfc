"""Stages that train nothing give the same bytes on every processor."""

import hashlib
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tests.workspace import Workspace

STAGES = ["inputs", "download", "tokenizer", "encode", "vocabulary", "plot"]


def test_stages_without_training_give_the_same_bytes_without_vector_instructions(
    micro: Workspace, tmp_path: Path
) -> None:
    simple = micro.copy(tmp_path)
    simple.environment |= {
        "NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__),  # type: ignore[attr-defined]
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",  # for the logarithms of Python itself
        "ATEN_CPU_CAPABILITY": "default",
    }
    lock = YAML(typ="safe", pure=True).load(micro.path / "dvc.lock")["stages"]
    outs = [out["path"] for stage in STAGES for out in lock[stage]["outs"]]
    for out in outs:
        (simple.path / out).unlink()
    simple.run_stages(*STAGES)
    assert [out for out in outs if digest(simple.path / out) != digest(micro.path / out)] == []


def digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
