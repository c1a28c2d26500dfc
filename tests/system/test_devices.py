"""Tests of lm/system/devices.py."""

import pytest
import torch

from lm.system.devices import autocast, choose_device, explaining_memory_errors, matmul_dtype, memory_errors


def machine(patch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: cuda)
    patch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == torch.device(expected)


def test_a_device_that_the_machine_has_is_taken_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True, mps=False)
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda") == torch.device("cuda")


def test_a_device_that_the_machine_lacks_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=False, mps=False)
    with pytest.raises(ValueError, match=r"^device: must be one that this machine has \(cpu\) or 'auto', got 'cuda'$"):
        choose_device("cuda")
    machine(monkeypatch, cuda=True, mps=False)
    with pytest.raises(ValueError, match=r"\(cuda, cpu\) or 'auto', got 'mps'$"):
        choose_device("mps")


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(MemoryError, match="can't allocate memory"), memory_errors():
        torch.empty(2**60, dtype=torch.uint8)  # an exabyte, beyond any address space
    with pytest.raises(MemoryError, match=r"^CUDA out of memory$"), memory_errors():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="inconsistent tensor size"), memory_errors():
        torch.zeros(2) @ torch.zeros(3)
    with pytest.raises(ValueError, match=r"^another$"), memory_errors():
        raise ValueError("another")


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "std::bad_alloc",
        "MPS backend out of memory (MPS allocated: 8.05 GB, other allocations: 1.21 GB, max allowed: 9.07 GB)",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_every_device_s_words_for_it_become_the_message_of_the_one_who_knows_the_cure(words: str) -> None:
    with (
        pytest.raises(ValueError, match=r"^section\.name: lower it$"),
        explaining_memory_errors("section.name: lower it"),
    ):
        raise RuntimeError(words)
    with (
        pytest.raises(ValueError, match=r"^section\.name: lower it$"),
        explaining_memory_errors("section.name: lower it"),
    ):
        raise MemoryError


def test_a_function_may_be_such_a_block_each_time_it_is_called() -> None:
    @memory_errors()
    def allocate(n_bytes: int) -> int:
        return len(torch.empty(n_bytes, dtype=torch.uint8))

    for _ in range(2):
        assert allocate(3) == 3
        with pytest.raises(MemoryError):
            allocate(2**60)


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_matrix_products_run_in_the_precision_asked_for(precision: str, expected: torch.dtype) -> None:
    with autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_the_type_of_products_is_that_of_the_tensors_unless_a_half_is_asked_for() -> None:
    assert matmul_dtype("fp32") is None
    assert matmul_dtype("bf16") == torch.bfloat16
    assert matmul_dtype("fp16") == torch.float16
    with autocast(torch.device("cpu"), "fp32"):
        assert (torch.ones(2, 2).double() @ torch.ones(2, 2).double()).dtype == torch.float64
