"""Weighted batches: however one is split, over parts or backends, it has the gradient of the whole."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.distributed.team import Team
from lm.training.backend import Backend, Measurement
from lm.training.batch import Batch, total_weight
from lm.training.build import build_backend
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config

VOCAB_SIZE = 20


def random_batch(n_rows: int, seed: int, zeros: float = 0.4) -> Batch:
    """Rows whose weights are 0, or anything up to 3, so that the rows weigh differently."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    windows = generator.integers(0, VOCAB_SIZE, (n_rows, 9))
    weights = generator.uniform(0, 3, (n_rows, 8)) * (generator.random((n_rows, 8)) > zeros)
    weights[0, 0] = 1.0  # something counts
    return Batch(windows[:, :-1], windows[:, 1:], weights.astype(np.float32))


def small_backend(kind: str, **changes: Any) -> Backend:
    # SGD without momentum moves by the gradient itself.
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": None}
    return build_backend(train_config(backend=kind, **settings | changes), model_config(n_layers=1), VOCAB_SIZE, 1)


def gradient_of(kind: str, parts: list[Batch]) -> tuple[Measurement, float, dict[str, NDArray[np.float32]]]:
    backend = small_backend(kind)
    before = backend.weights()
    measured, norm = backend.gradient(parts, (1, 0))
    backend.update(1.0)
    return measured, norm, {name: before[name] - weight for name, weight in backend.weights().items()}


cuts = st.lists(st.integers(1, 5), max_size=4).map(lambda places: sorted({0, 6, *places}))


@pytest.mark.parametrize("kind", ["torch", "numpy"])
@settings(max_examples=12)
@given(cuts, st.integers(0, 99))
def test_any_split_of_a_batch_gives_the_gradient_of_the_whole(kind: str, places: list[int], seed: int) -> None:
    batch = random_batch(6, seed)
    parts = [batch.rows(start, end) for start, end in itertools.pairwise(places)]
    whole, split = gradient_of(kind, [batch]), gradient_of(kind, parts)
    # Losses of 3 and gradients of some tenths in float32, whose sums are in another order.
    assert split[0] == pytest.approx(whole[0], abs=2e-6)
    assert split[1] == pytest.approx(whole[1], rel=2e-5)
    for name, gradient in whole[2].items():
        np.testing.assert_allclose(split[2][name], gradient, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_what_weighs_nothing_is_not_learned_from(kind: str) -> None:
    batch = random_batch(4, seed=1)
    other = np.where(batch.weights > 0, batch.targets, (batch.targets + 1) % VOCAB_SIZE)
    assert (other != batch.targets).any()
    one, same = (gradient_of(kind, [Batch(batch.inputs, targets, batch.weights)]) for targets in (batch.targets, other))
    assert one[:2] == same[:2]
    for name, gradient in one[2].items():
        np.testing.assert_array_equal(same[2][name], gradient, err_msg=name)


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_the_loss_is_the_weighted_mean(kind: str) -> None:
    batch, backend = random_batch(5, seed=2), small_backend(kind)
    each = np.zeros(batch.inputs.shape)
    for place in np.ndindex(batch.inputs.shape):
        alone = np.zeros(batch.inputs.shape, np.float32)
        alone[place] = 1.0
        each[place] = backend.measure(Batch(batch.inputs, batch.targets, alone)).loss
    expected = (each * batch.weights).sum() / batch.weights.sum()
    measured, _ = backend.gradient([batch], (1, 0))
    assert measured.loss == pytest.approx(expected, abs=1e-6)  # losses of 3 in float32
    assert backend.measure(batch) == pytest.approx(measured, abs=1e-6)


def test_windows_ask_for_the_next_token_at_every_position() -> None:
    batch = Batch.of_windows(np.array([[1, 2, 3], [4, 5, 6]]))
    assert batch.inputs.tolist() == [[1, 2], [4, 5]]
    assert batch.targets.tolist() == [[2, 3], [5, 6]]
    assert batch.weights.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (len(batch), batch.weight) == (2, 4.0)
    assert [part.inputs.tolist() for part in batch.split(1)] == [[[1, 2]], [[4, 5]]]
    assert [len(part) for part in Batch.of_windows(np.ones((5, 3), np.int64)).split(2)] == [2, 2, 1]


def test_a_batch_in_which_nothing_counts_is_an_error() -> None:
    nothing = Batch(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"^batch: the weights of its predictions must add up to more than 0, got 0$"):
        total_weight([nothing, nothing])


def test_rows_that_do_not_divide_among_the_processes_are_not_dropped_in_silence() -> None:
    backend = small_backend("torch")
    assert isinstance(backend, TorchBackend)
    backend.team = Team()
    backend.team.size = 2
    with pytest.raises(AssertionError, match="3 rows for 2 processes"):
        backend.gradient([random_batch(3, seed=0)], (1, 0))
