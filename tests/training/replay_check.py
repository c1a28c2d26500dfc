"""A program for a machine with a GPU: replayed steps have the bits of steps that Python starts (test_replayed.py)."""

import copy
from typing import Any

import numpy as np
from torch import Tensor

from lm.training import torch_backend
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.replayed import Replayed
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config

VOCAB_SIZE = 500
MODEL: dict[str, Any] = {"d_model": 64, "n_heads": 2, "n_layers": 2, "d_ff": 128, "context_length": 64}
GENERATOR = np.random.Generator(np.random.Philox(0))
BATCHES = [Batch.of_windows(GENERATOR.integers(0, VOCAB_SIZE, (16, 65))) for _ in range(8)]


class NeverReplayed(Replayed):
    """Runs its function at every call."""

    def __call__(self, *arguments: Tensor) -> Tensor:
        """The result."""
        return self._recorder.call(self._function, [argument.to(self._device) for argument in arguments])


def backend(optimizer: str, kind: type[Replayed], precision: str = "bf16") -> TorchBackend:
    """A small model on the GPU."""
    torch_backend.__dict__["Replayed"] = kind
    config = train_config(
        optimizer=optimizer, device="cuda", precision=precision, compile=True, batch_size=16, clip_norm=1.0
    )
    built = build_backend(config, model_config(**MODEL), VOCAB_SIZE, seed=0)
    assert isinstance(built, TorchBackend)
    return built


def steps(backend: TorchBackend, first: int, last: int, n_parts: int) -> list[Any]:
    """What some steps measure. Every third step has `n_parts` parts, and after every fourth the model is measured."""
    measured: list[Any] = []
    for step in range(first, last):
        parts = [BATCHES[(step + i) % 8] for i in range(n_parts if step % 3 == 2 else 1)]
        measured.append(backend.gradient(parts, (1, step)))
        backend.update(0.002 * (step + 1))
        if step % 4 == 3:
            measured.append(backend.measure(BATCHES[0]))
    return measured


def assert_same_weights(one: TorchBackend, other: TorchBackend) -> None:
    """All weights are equal to the bit."""
    weights = other.weights()
    for name, weight in one.weights().items():
        np.testing.assert_array_equal(weight, weights[name], err_msg=name)


def check(optimizer: str, n_parts: int) -> None:
    """Replayed and plain steps agree, also after a state is loaded, by a fresh backend or by one with records."""
    replayed, plain = (backend(optimizer, kind) for kind in (Replayed, NeverReplayed))
    expected = steps(plain, 0, 6, n_parts)
    assert steps(replayed, 0, 6, n_parts) == expected
    assert isinstance(replayed._gradient, Replayed)
    assert any(replayed._gradient._records.values()), "a record has other bits"
    state = copy.deepcopy(replayed.state())
    expected = steps(plain, 6, 12, n_parts)
    assert steps(replayed, 6, 12, n_parts) == expected
    assert_same_weights(replayed, plain)
    for resumed in (backend(optimizer, Replayed), replayed):
        resumed.load_state(copy.deepcopy(state))
        assert steps(resumed, 6, 12, n_parts) == expected
        assert_same_weights(resumed, plain)
    assert expected[-1].loss != expected[0][0].loss


def check_fp16() -> None:
    """In float16 nothing is replayed. Two runs agree, and a fresh backend that continues one of them."""
    one, two, resumed = (backend("adamw", Replayed, "fp16") for _ in range(3))
    assert steps(one, 0, 6, 1) == steps(two, 0, 6, 1)
    resumed.load_state(copy.deepcopy(one.state()))
    expected = steps(one, 6, 12, 1)
    for other in (two, resumed):
        assert steps(other, 6, 12, 1) == expected
        assert_same_weights(other, one)
    assert not isinstance(one._gradient, Replayed)


if __name__ == "__main__":
    for optimizer, n_parts in (("adamw", 1), ("muon", 2), ("sgd", 1)):
        check(optimizer, n_parts)
        print(optimizer, n_parts, "same bits", flush=True)
    check_fp16()
    print("fp16, same bits", flush=True)
