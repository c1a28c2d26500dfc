"""Tests of lm/training/replayed.py, with a recorder that needs no GPU, and on a GPU where there is one."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lm.system.recording import Record
from lm.training import replayed
from lm.training.replayed import Replayed

CPU = torch.device("cpu")


class FakeRecorder:
    """Records by keeping the function. `error` is added to all that a replay gives."""

    error = 0.0
    n_replays = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def call(self, function: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
        return function(*inputs)

    def record(self, function: Callable[..., Tensor], inputs: list[Tensor]) -> Record[Tensor]:
        output = torch.zeros(2)

        def replay() -> None:
            FakeRecorder.n_replays += 1
            output.copy_(function(*inputs) + self.error)

        return Record(inputs, output, replay)


def running_sum(monkeypatch: pytest.MonkeyPatch, error: float) -> tuple[list[list[float]], int]:
    """What a function with a memory returns for six vectors of two lengths, and how often it was replayed."""
    monkeypatch.setattr(replayed, "Recorder", FakeRecorder)
    monkeypatch.setattr(FakeRecorder, "error", error)
    monkeypatch.setattr(FakeRecorder, "n_replays", 0)
    total = torch.zeros(())

    def add(vector: Tensor) -> Tensor:
        total.add_(vector.sum())
        return torch.stack([total, vector[0]])

    function = Replayed(add, CPU, lambda: [total])
    results = [
        function(torch.full((n,), value)).tolist() for n, value in zip((3, 3, 2, 3, 2, 3), range(6), strict=True)
    ]
    return results, FakeRecorder.n_replays


EXPECTED = [[0.0, 0.0], [3.0, 1.0], [7.0, 2.0], [16.0, 3.0], [24.0, 4.0], [39.0, 5.0]]


def test_results_are_those_of_plain_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the four calls with three numbers the second is recorded and tried, and two are replayed. The second of the
    # calls with two numbers is recorded and tried.
    assert running_sum(monkeypatch, error=0.0) == (EXPECTED, 4)


def test_a_record_that_gives_another_bit_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="other bits"):
        assert running_sum(monkeypatch, error=1e-6) == (EXPECTED, 2)  # tried once for each length


def test_without_memory_for_a_record_every_call_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> Record[Tensor]:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(FakeRecorder, "record", fail)
    with pytest.warns(UserWarning, match="not enough memory"):
        assert running_sum(monkeypatch, error=0.0) == (EXPECTED, 0)


@pytest.mark.parametrize("n_clones", [0, 2])  # the one before the call, the one after it
def test_without_memory_for_copies_every_call_is_plain(monkeypatch: pytest.MonkeyPatch, n_clones: int) -> None:
    clones = []

    def clone(tensor: Tensor) -> Tensor:
        clones.append(tensor)
        if len(clones) > n_clones:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.empty_like(tensor).copy_(tensor)

    monkeypatch.setattr(Tensor, "clone", clone)
    with pytest.warns(UserWarning, match="not enough memory"):
        assert running_sum(monkeypatch, error=0.0) == (EXPECTED, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU of NVIDIA")
def test_replayed_steps_have_the_bits_of_plain_ones_also_after_a_state_is_loaded() -> None:
    # In a process of its own: the compiler traces with tensors that the run-time check of shapes does not know.
    program = [sys.executable, "-m", "tests.training.replay_check"]
    assert subprocess.run(program, check=True, capture_output=True, text=True).stdout.count("same bits") == 4
