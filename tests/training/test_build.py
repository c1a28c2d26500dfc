"""From a configuration to a backend."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from lm.training.build import build_backend, check_processes, n_processes
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
    monkeypatch.setattr("lm.training.compute.n_cores", lambda: 2)
    assert n_processes(train_config(processes=1)) == 1
    assert n_processes(train_config(processes=2)) == 2
    assert n_processes(train_config(processes="auto")) == 1
    assert n_processes(train_config(processes="auto", backend="numpy")) == 1
    with pytest.raises(ValueError, match=r"^train\.processes: must be at most the 2 CPU cores here, got 3$"):
        n_processes(train_config(processes=3))


@pytest.mark.parametrize("asked", [{"processes": 1}, {"processes": "auto", "backend": "numpy"}])
def test_one_process_is_counted_without_pytorch(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    for name in ("lm.system.devices", "lm.training.compute", "torch"):
        monkeypatch.setitem(sys.modules, name, None)  # as above
    assert n_processes(train_config(**asked)) == 1
