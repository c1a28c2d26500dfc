"""From a configuration to a backend."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from lm.training.build import build_backend, check_processes, fitting_processes, n_processes
from lm.training.numpy_backend import NumpyBackend
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config


def test_the_backend_asked_for_is_built_and_says_what_computes() -> None:
    built = build_backend(train_config(), model_config(), 20, 1)
    assert isinstance(built, TorchBackend)
    assert built.compute_report.words[0] == f"torch {torch.__version__} on cpu"
    assert built.compute_report.facts["library"] == f"torch {torch.__version__}"
    built = build_backend(train_config(backend="numpy"), model_config(), 20, 1)
    assert isinstance(built, NumpyBackend)
    assert built.compute_report.words[0] == f"numpy {np.__version__} on cpu"
    assert built.compute_report.facts["library"] == f"numpy {np.__version__}"


def test_a_machine_without_pytorch_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails as where it is not installed
    with pytest.raises(ValueError, match=r"^train\.backend: 'torch' is not installed here; install it, or "):
        build_backend(train_config(), model_config(), 20, 1)
    with pytest.raises(ValueError, match=r"^train\.backend: 'torch' is not installed here; install it, or "):
        n_processes(train_config(processes=2))


def test_a_model_that_does_not_fit_into_memory_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3298534883328 bytes")

    monkeypatch.setattr("lm.model.transformer.Transformer", fail)
    with pytest.raises(MemoryError, match="can't allocate memory"):
        build_backend(train_config(), model_config(), 20, 1)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of two, as a launcher tells it."""
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("pair")
def test_a_launcher_of_several_processes_is_refused_by_numpy() -> None:
    # Otherwise each of them would take the whole run for its own.
    for processes in ("auto", 1):
        with pytest.raises(ValueError, match=r"^train\.backend: 'numpy' needs a launcher that starts 1 process, got 2"):
            build_backend(train_config(backend="numpy", processes=processes), model_config(), 20, 1)


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("processes", [2, "auto"])
def test_every_part_of_a_batch_must_divide_among_the_processes(processes: Any) -> None:
    for sizes in ({"batch_size": 4}, {"batch_size": 4, "accumulate": 2}, {"batch_size": 6, "accumulate": 3}):
        check_processes(train_config(processes=processes, **sizes))
    with pytest.raises(
        ValueError, match=r"^train\.batch_size: each of its 1 parts must .* 2 processes, got 5 sequences"
    ):
        check_processes(train_config(processes=processes, batch_size=5))
    with pytest.raises(ValueError, match=r"^train\.batch_size: each of its 4 parts .* got 1 sequences a part$"):
        build_backend(train_config(processes=processes, batch_size=4, accumulate=4), model_config(), 20, 1)


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("processes", [1, 4])
def test_a_launcher_must_have_started_as_many_processes_as_are_asked_for(processes: int) -> None:
    with pytest.raises(ValueError, match=rf"^train\.processes: must be .* has started \(2\), got {processes}$"):
        build_backend(train_config(processes=processes, batch_size=4), model_config(), 20, 1)


def test_without_a_launcher_one_process_trains_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for batch_size in (1, 5):
        check_processes(train_config(batch_size=batch_size))
        check_processes(train_config(batch_size=batch_size, processes="auto"))
    with pytest.raises(ValueError, match=r"^train\.processes: must be as many as .* \(1\), got 2$"):
        build_backend(train_config(processes=2), model_config(), 20, 1)


def test_how_many_processes_a_run_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.training.build.n_cores", lambda: 2)
    assert n_processes(train_config(processes=1)) == 1
    assert n_processes(train_config(processes=2)) == 2
    assert n_processes(train_config(processes="auto")) == 1
    assert n_processes(train_config(processes="auto", backend="numpy")) == 1
    with pytest.raises(ValueError, match=r"^train\.processes: must be at most the 2 CPU cores here, got 3$"):
        n_processes(train_config(processes=3))


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        ({"processes": 1}, 1),
        ({"processes": "auto", "backend": "numpy"}, 1),
        ({"processes": "auto", "device": "auto"}, 1),
        ({"processes": 2, "device": "cpu"}, 2),
    ],
)
def test_processes_on_a_cpu_are_counted_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], n: int
) -> None:
    monkeypatch.setattr("lm.training.build.n_cores", lambda: 2)
    monkeypatch.setattr("lm.training.build.is_absent", lambda device: True)
    monkeypatch.setattr("lm.training.build.find_spec", lambda name: True)
    for name in ("lm.system.devices", "torch"):
        monkeypatch.setitem(sys.modules, name, None)  # as above
    assert n_processes(train_config(**asked)) == n


def processes(asked: int | str, there: int, device: str = "cpu", **changes: Any) -> int:
    return fitting_processes(train_config(processes=asked, **changes), device, there)


def test_at_most_as_many_processes_as_there_are_devices() -> None:
    assert [processes(n, 4) for n in (1, 3, 4)] == [1, 3, 4]
    with pytest.raises(ValueError, match=r"^train\.processes: must be at most the 4 CPU cores here, got 5$"):
        processes(5, 4)
    assert processes(3, 3, "cuda") == 3
    with pytest.raises(ValueError, match=r"^train\.processes: must be at most the 3 GPUs here, got 4$"):
        processes(4, 3, "cuda")
    assert processes(1, 1, "mps") == 1
    with pytest.raises(ValueError, match=r"^train\.processes: must be at most the 1 devices here, got 2$"):
        processes(2, 1, "mps")


def test_auto_is_one_process_a_gpu_as_far_as_the_batch_divides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (processes("auto", 4), processes("auto", 1, "mps")) == (1, 1)
    sizes = {16: 8, 8: 8, 12: 6, 10: 5, 7: 7, 11: 1, 1: 1}
    assert {size: processes("auto", 8, "cuda", batch_size=size) for size in sizes} == sizes
    assert processes("auto", 8, "cuda", batch_size=16, accumulate=4) == 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert n_processes(train_config(processes="auto", device="cuda", batch_size=12)) == 6
