"""What every backend of training promises, tried on each of them."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lm.training.backend import Arrays, Backend, State
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.torch_backend import TorchBackend
from tests.project import ROOT
from tests.small import model_config, train_config

VOCAB_SIZE = 20
BACKENDS = ["torch", "numpy"]
BATCH = Batch.of_windows(np.random.Generator(np.random.Philox(key=5)).integers(0, VOCAB_SIZE, (4, 9)))
DROPOUT: dict[str, Any] = {"dropout": 0.3}


def small_backend(kind: str, model: dict[str, Any] | None = None, seed: int = 1, **changes: Any) -> Backend:
    return build_backend(train_config(backend=kind, **changes), model_config(**(model or {})), VOCAB_SIZE, seed)


def copied(state: State) -> State:
    """A state that later steps do not change."""
    return State({name: array.copy() for name, array in state.arrays.items()}, dict(state.values))


def assert_same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    assert list(one) == list(other)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name, strict=True)


def test_groups_of_a_state_come_apart_as_they_were_joined() -> None:
    one: Arrays = {"x/y": np.zeros(2), "z": np.ones(())}
    other: Arrays = {"z": np.arange(3)}
    state = State.joined({"n": 3}, a=one, ab=other, none={})
    assert list(state.arrays) == ["a/x/y", "a/z", "ab/z"]
    assert state.values == {"n": 3}
    parts: dict[str, Arrays] = {"a": one, "ab": other, "none": {}, "b": {}}
    for part, expected in parts.items():
        assert_same(state.part(part), expected)
    nested = State.joined({}, outer=state.arrays)
    assert_same(State(nested.part("outer"), {}).part("ab"), other)


def test_the_number_of_threads_does_not_change_what_is_dropped() -> None:
    # Activations of another size than a thread's share of the work.
    backend = small_backend("torch", {"dropout": 0.3, "d_model": 64, "context_length": 300})
    batch = Batch.of_windows(np.random.Generator(np.random.Philox(key=5)).integers(0, VOCAB_SIZE, (5, 301)))
    before = torch.get_num_threads()
    losses = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        losses.append(backend.gradient([batch], (1, 1))[0].loss)
    torch.set_num_threads(before)
    # Another dropout changes the third decimal, as between seeds.
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)
    assert backend.gradient([batch], (1, 2))[0].loss != pytest.approx(losses[0], abs=1e-4)


@pytest.mark.parametrize("kind", BACKENDS)
def test_seed_and_step_decide_the_dropout(kind: str) -> None:
    backend = small_backend(kind, DROPOUT)
    # PyTorch's generator on the CPU keeps 32 bits of a seed, so seeds two apart share their dropout.
    noises = [(seed, step) for seed in (0, 1) for step in (0, 1, 2, 3, 10**6)]
    losses = [backend.gradient([BATCH], noise)[0].loss for noise in noises]
    assert len(set(losses)) == len(noises)
    assert [backend.gradient([BATCH], noise)[0].loss for noise in noises] == losses


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_parts_of_a_batch_do_not_share_their_dropout(kind: str) -> None:
    # The loss of two equal parts would be that of one, if each part saw the same dropout.
    backend = small_backend(kind, DROPOUT)
    assert backend.gradient([BATCH] * 2, (1, 0))[0].loss != backend.gradient([BATCH], (1, 0))[0].loss
    backend = small_backend(kind)
    assert backend.gradient([BATCH] * 2, (1, 0))[0].loss == backend.gradient([BATCH], (1, 0))[0].loss


@pytest.mark.parametrize("kind", BACKENDS)
def test_attention_looks_beyond_the_start_of_a_document_only_if_nobody_says_where_it_is(kind: str) -> None:
    rows = np.array(
        [[0, 1, 2, 3, 0, 7, 8, 9, 5], [0, 4, 5, 6, 0, 7, 8, 9, 5]]
    )  # two documents a row; the second is one
    second = np.tile(np.arange(8) > 3, (1, 1)).astype(np.float32)
    batches = [Batch(row[None, :-1], row[None, 1:], second) for row in rows]
    losses = {}
    for end_id in (None, 0):
        backend = build_backend(train_config(backend=kind), model_config(), VOCAB_SIZE, 1, end_id=end_id)
        trained = [backend.gradient([batch], (1, 0))[0].loss for batch in batches]
        measured = [backend.measure(batch).loss for batch in batches]
        assert measured == pytest.approx(trained, rel=1e-6)
        losses[end_id] = trained
    assert losses[0][0] == pytest.approx(losses[0][1], rel=1e-6)
    assert losses[None][0] != pytest.approx(losses[None][1], rel=1e-4)


@pytest.mark.parametrize("kind", BACKENDS)
def test_nothing_changes_before_the_update(kind: str) -> None:
    backend = small_backend(kind, DROPOUT)
    backend.gradient([BATCH], (1, 0))
    backend.update(0.1)
    before = copied(backend.state())
    backend.gradient([BATCH], (1, 1))
    backend.measure(BATCH)
    assert_same(backend.state().arrays, before.arrays)
    assert backend.state().values == before.values
    backend.update(0.1)
    after = backend.state().arrays
    assert all(not np.array_equal(after[name], array) for name, array in before.arrays.items())


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_an_update_takes_the_rate_it_is_told(kind: str, changes: dict[str, Any]) -> None:
    # Of a first step without decay, twice the rate moves each weight twice as far. Weights of 0.02 in float32 round by
    # 2e-9, those of norms, which are 1, by 6e-8; the moves are the difference of two such.
    moves = []
    for rate in (0.0, 0.01, 0.02):
        backend = small_backend(kind, weight_decay=0.0, clip_norm=None, **changes)
        before = backend.weights()
        backend.gradient([BATCH], (1, 0))
        backend.update(rate)
        moves.append({name: weight - before[name] for name, weight in backend.weights().items()})
    still, once, twice = moves
    for name in still:
        assert not still[name].any()
        assert once[name].any()
        np.testing.assert_allclose(twice[name], 2 * once[name], rtol=1e-5, atol=3e-7)


@pytest.mark.parametrize("kind", BACKENDS)
def test_each_gradient_starts_from_zero(kind: str) -> None:
    backend = small_backend(kind, clip_norm=None)
    norms = [backend.gradient([BATCH], (1, step))[1] for step in (0, 1)]
    assert norms[0] == norms[1] > 0


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_norm_is_that_before_clipping_and_the_update_that_after(kind: str) -> None:
    weights, norms = [], []
    for clip_norm in (None, 1e-3):
        backend = small_backend(kind, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=clip_norm)
        before = backend.weights()
        norms.append(backend.gradient([BATCH], (1, 0))[1])
        backend.update(1.0)
        after = backend.weights()
        weights.append(np.sqrt(sum(np.square(after[name] - before[name]).sum(dtype=np.float64) for name in after)))
    assert norms[0] == norms[1] > 0.01
    # SGD moves by the gradient; weights of 0.02 round by 2e-9, and the norms' weights of 1 by 6e-8, of moves of 1e-3.
    assert weights == pytest.approx([norms[0], 1e-3], rel=1e-2)


@pytest.mark.parametrize("kind", BACKENDS)
def test_measuring_drops_nothing(kind: str) -> None:
    dropping, plain = small_backend(kind, DROPOUT), small_backend(kind)
    assert dropping.measure(BATCH) == dropping.measure(BATCH) == plain.measure(BATCH)
    assert dropping.gradient([BATCH], (1, 0))[0] != plain.gradient([BATCH], (1, 0))[0]
    assert dropping.measure(BATCH) == plain.measure(BATCH)
    assert plain.gradient([BATCH], (1, 0))[0].loss == plain.measure(BATCH).loss


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_weights_given_out_are_a_copy_in_float32(kind: str) -> None:
    backend = small_backend(kind)
    weights = backend.weights()
    before = {name: weight.copy() for name, weight in weights.items()}
    backend.gradient([BATCH], (1, 0))
    backend.update(0.1)
    assert_same(dict(weights), dict(before))
    for weight in weights.values():
        assert weight.dtype == np.float32
        weight[...] = 0
    assert all(weight.any() for weight in backend.weights().values())


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_state_carries_one_backend_over_to_another(kind: str, optimizer: str) -> None:
    one, other = (small_backend(kind, DROPOUT, seed, optimizer=optimizer) for seed in (1, 2))
    for step in range(3):
        one.gradient([BATCH], (1, step))
        one.update(0.01)
    other.load_state(copied(one.state()))
    for step in range(3, 6):
        assert one.gradient([BATCH], (1, step)) == other.gradient([BATCH], (1, step))
        for backend in (one, other):
            backend.update(0.01)
    assert_same(one.state().arrays, other.state().arrays)
    assert one.state().values == other.state().values


def test_both_backends_begin_alike_and_take_the_same_steps_within_rounding() -> None:
    # SGD, for Adam divides rounding errors by gradients that may be as small. Losses of 3 in float32 round by 2e-7, and
    # sums of dozens of products by a few times that.
    one, other = (small_backend(kind, optimizer="sgd", nesterov=True) for kind in BACKENDS)
    for step in range(5):
        expected, expected_norm = one.gradient(BATCH.split(2), (1, step))
        measured, norm = other.gradient(BATCH.split(2), (1, step))
        assert measured == pytest.approx(expected, abs=5e-6)
        assert norm == pytest.approx(expected_norm, rel=5e-5)
        for backend in (one, other):
            backend.update(0.1)
    assert other.measure(BATCH) == pytest.approx(one.measure(BATCH), abs=5e-6)
    weights = other.weights()
    for name, weight in one.weights().items():
        np.testing.assert_allclose(weights[name], weight, rtol=0, atol=5e-6, err_msg=name)


def test_float16_alone_may_overflow() -> None:
    assert not small_backend("numpy").may_overflow
    assert [small_backend("torch", precision=p).may_overflow for p in ("fp32", "bf16", "fp16")] == [False, False, True]


def out_of_memory(*_args: Any, **_options: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("place", "act"),
    [
        ("lm.training.torch_backend.linear_cross_entropy", lambda backend: backend.gradient([BATCH], (1, 0))),
        ("lm.training.torch_backend.linear_cross_entropy", lambda backend: backend.measure(BATCH)),
        ("lm.optim.optimizers.torch.zeros_like", lambda backend: backend.update(0.1)),  # the moments, at the first step
        ("lm.training.torch_backend.gathered", lambda backend: backend.weights()),
        ("lm.training.torch_backend.gathered", lambda backend: backend.state()),
    ],
    ids=["gradient", "measure", "update", "weights", "state"],
)
def test_running_out_of_memory_is_a_memory_error_wherever_it_happens(
    monkeypatch: pytest.MonkeyPatch, place: str, act: Callable[[Backend], object]
) -> None:
    backend = small_backend("torch")
    backend.gradient([BATCH], (1, 0))
    monkeypatch.setattr(place, out_of_memory)
    with pytest.raises(MemoryError, match=r"^CUDA out of memory$"):
        act(backend)


def test_an_update_that_changes_no_weight_is_an_error_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = small_backend("torch")
    assert isinstance(backend, TorchBackend)
    backend.gradient([BATCH], (1, 0))
    monkeypatch.setattr(backend._optimizer, "apply", lambda paces: None)
    with pytest.raises(ValueError, match=r"^train: an update must change the weights, with learning rate 0\.1 it "):
        backend.update(0.1)
    backend.update(1e-9)  # which float32 may round away
    monkeypatch.undo()
    backend.update(0.1)
    monkeypatch.setattr(backend._optimizer, "apply", lambda paces: None)
    backend.update(0.1)  # looked at once, because that costs a copy


_STEP = """
import sys
import numpy as np
from tests.small import model_config, train_config
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.run import Run
backend = build_backend(train_config(compile=False), model_config(), 32, seed=0)
backend.gradient([Batch.of_windows(np.zeros((2, 5), dtype=np.int64))], (0, 0))
backend.update(0.1)
backend.load_state(backend.state())
print([name for name in ("torch._dynamo", "torch.distributed.tensor", "pandas") if name in sys.modules])
"""


def test_a_plain_step_imports_neither_the_compiler_nor_what_only_several_processes_need() -> None:
    done = subprocess.run([sys.executable, "-c", _STEP], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
