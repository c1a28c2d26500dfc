"""How much of a processor's arithmetic training uses: the model FLOPs utilisation, MFU.

The operations of the model a second (`lm.training.estimate.training_flops`), over the most that the processor can do
(Chowdhery et al. 2022, appendix B, https://arxiv.org/abs/2204.02311). It depends on a clock, so no out holds it.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

# Operations a second of NVIDIA's GPUs in products of dense half-precision matrices. The data sheets give twice as much
# for H100, H200 and B200, which is with sparsity. https://www.nvidia.com/en-us/data-center/a100/, .../h100/, .../h200/;
# of the B200 a part of https://www.nvidia.com/en-us/data-center/dgx-b200/. The first name that fits counts.
_PEAKS = {
    "A100": 312e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
}
_SIZE = 1024  # rows and columns of the product that is measured
_MEASURED_S = 0.2


def peak_flops(facts: Mapping[str, Any]) -> float | None:
    """The most operations a second of what a run is computed on, or None if it is not known.

    `facts` are those of the backend's report (`lm.training.compute`). For a GPU the data sheet says it, by its name.
    For a CPU it is measured, in a fifth of a second.
    """
    if facts["device"] == "cuda":
        peak = gpu_peak(facts["processor"]) if facts["precision"] != "fp32" else None
        return peak and peak * facts["processes"]
    if facts["device"] == "cpu" and facts["library"].startswith("torch") and facts["processes"] == 1:
        return _measured(facts["precision"])
    return None


def gpu_peak(name: str) -> float | None:
    """The operations a second of one GPU in half precision, or None if its name is unknown."""
    return next((peak for part, peak in _PEAKS.items() if part in name), None)


def _measured(precision: Literal["fp32", "bf16", "fp16"]) -> float:
    """The operations a second of the fastest of some square matrix products."""
    import torch

    from lm.system.devices import matmul_dtype

    a, b, product = (torch.ones(_SIZE, _SIZE, dtype=matmul_dtype(precision)) for _ in range(3))
    times_s: list[float] = []
    while len(times_s) < 3 or sum(times_s) < _MEASURED_S:
        started = time.perf_counter()
        torch.mm(a, b, out=product)
        times_s.append(time.perf_counter() - started)
    return 2.0 * _SIZE**3 / min(times_s)
