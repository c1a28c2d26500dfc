"""Where tensors live and in which precision they are multiplied."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

from lm.system.memory import is_out_of_memory

Precision = Literal["fp32", "bf16", "fp16"]


def choose_device(name: Literal["auto", "cpu", "cuda", "mps"], place: str = "device") -> torch.device:
    """The device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU. Errors name `place`.

    Raises:
        ValueError: when this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        have = ", ".join(kind for kind, there in available.items() if there)
        raise ValueError(f"{place}: must be one that this machine has ({have}) or 'auto', got {name!r}")
    return torch.device(name)


@contextmanager
def memory_errors() -> Iterator[None]:
    """A block that raises MemoryError when memory runs out."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from None
        raise


@contextmanager
def explaining_memory_errors(message: str) -> Iterator[None]:
    """A block that raises ValueError with this message when memory runs out."""
    try:
        with memory_errors():
            yield
    except MemoryError:
        raise ValueError(message) from None


def matmul_dtype(precision: Precision) -> torch.dtype | None:
    """The type of matrix products; None in fp32, where the tensors keep their type."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A block in which matrix products run in the given precision (Micikevicius et al. 2017, arXiv:1710.03740)."""
    dtype = matmul_dtype(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
