"""The most operations a second of a processor, and the share of them that a run used."""

import time
from typing import Any

import pytest
import torch

from lm.training.timing import utilisation
from lm.training.utilisation import gpu_peak, peak_flops

GPU: dict[str, Any] = {
    "library": "torch 2.13.0",
    "device": "cuda",
    "processor": "NVIDIA A100-SXM4-80GB",
    "precision": "bf16",
    "processes": 1,
}
CPU = GPU | {"device": "cpu", "processor": "AMD EPYC", "precision": "fp32"}


def test_a_gpu_s_peak_is_that_of_its_data_sheet_in_half_precision() -> None:
    names = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA H100 NVL": 835e12}
    assert {name: gpu_peak(name) for name in (*names, "Tesla T4")} == names | {"Tesla T4": None}
    assert peak_flops(GPU) == 312e12
    assert peak_flops(GPU | {"processes": 4}) == 4 * 312e12
    for unknown in ({"precision": "fp32"}, {"processor": "NVIDIA Abacus"}, {"device": "mps"}):
        assert peak_flops(GPU | unknown) is None


def test_a_cpu_s_peak_is_that_of_its_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 3.0, 5.0, 5.0, 9.0])  # products of 3, 2 and 4 seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    products = []
    monkeypatch.setattr(torch, "mm", lambda a, b, out: products.append((a.dtype, *a.shape, *b.shape)))
    assert peak_flops(CPU | {"precision": "bf16"}) == 2 * 1024**3 / 2.0
    assert products == [(torch.bfloat16, 1024, 1024, 1024, 1024)] * 3
    for unknown in ({"processes": 2}, {"library": "numpy 2.3.0"}):
        assert peak_flops(CPU | unknown) is None


def test_a_run_s_share_needs_a_time_and_a_peak() -> None:
    values: dict[str, Any] = {"flops": 6e12, "peak_flops": 1e12, "elapsed_s": [1.0, 30.0]}
    assert utilisation(values) == pytest.approx(0.2)
    assert utilisation(values | {"elapsed_s": []}) is utilisation(values | {"elapsed_s": [0.0]}) is None
    assert utilisation({"flops": 6e12, "elapsed_s": [30.0]}) is None
