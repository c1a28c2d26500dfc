"""Tests of lm/training/trainer.py."""

import json
import math
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lm.distributed.team import Team
from lm.formats.parameters import Table
from lm.model.transformer import Transformer
from lm.training.backend import Arrays, ComputeReport, Measurement, State
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.resume import ResumeFolder
from lm.training.source import Windows
from lm.training.torch_backend import TorchBackend
from lm.training.trainer import DivergedError, Trainer
from tests.small import model_config, random_documents, train_config, write_tokens

VOCAB_SIZE = 20


def small_sources() -> tuple[Windows, Windows]:
    """Tokens with something to learn, to train on, and noise, on which a model grows worse the surer it is."""
    folder = tempfile.TemporaryDirectory()
    train = write_tokens(Path(folder.name), random_documents(20, 30, VOCAB_SIZE), VOCAB_SIZE, "train")
    noise = np.random.Generator(np.random.Philox(key=9)).integers(1, VOCAB_SIZE, (10, 12)).tolist()
    valid = write_tokens(Path(folder.name), noise, VOCAB_SIZE, "valid")
    sources = Windows(train.ids, 8), Windows(valid.ids, 8)
    weakref.finalize(sources[0], folder.cleanup)
    return sources


TRAIN, VALID = small_sources()
TRAIN_CHANGES: dict[str, Any] = {"steps": 8, "valid_every": 3}


def small_trainer(model: dict[str, Any] | None = None, seed: int = 1, **changes: Any) -> Trainer:
    shape = model_config(**({"n_layers": 1, "d_model": 8, "d_ff": 12} | (model or {})))
    config = train_config(**(TRAIN_CHANGES | changes))
    backend = build_backend(config, shape, VOCAB_SIZE, seed)
    return Trainer(backend, TRAIN, VALID, config, seed)


def torch_model(trainer: Trainer) -> Transformer:
    """The model that a backend of PyTorch trains."""
    assert isinstance(trainer.backend, TorchBackend)
    return trainer.backend.model


def saved(trainer: Trainer) -> State:
    """The state as it comes back from disk."""
    with tempfile.TemporaryDirectory() as path:
        folder = ResumeFolder(Path(path))
        folder.save(trainer.state())
        state = folder.load()
    assert state is not None
    return state


def weights_of(state: State) -> Arrays:
    """The weights in a state of the trainer, by name."""
    return State(state.part("backend"), {}).part("weights")


def same_arrays(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two groups of arrays are equal, bit for bit."""
    return list(one) == list(other) and all(
        (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def same(one: State, other: State) -> bool:
    """Whether two states are equal, bit for bit; JSON tells 1 from 1.0 and keeps the order of keys."""
    return same_arrays(one.arrays, other.arrays) and json.dumps(one.values) == json.dumps(other.values)


# Rates so small that they change no weight: no validation brings a new best.
STANDSTILL: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e-30, "weight_decay": 0.0, "patience": 1}

RESUMED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "dropout": ({"dropout": 0.2}, {}),
    "bf16": ({"dropout": 0.2}, {"precision": "bf16"}),
    "fp16": ({"dropout": 0.2}, {"precision": "fp16"}),
    "accumulate": ({"dropout": 0.2}, {"accumulate": 2}),
    "ramp": ({"dropout": 0.2}, {"accumulate": 4, "ramp_steps": 6}),
    "muon": ({"dropout": 0.2}, {"optimizer": "muon"}),
    "early stopping": ({}, STANDSTILL),
    "sgd, keep last": ({"tie_embeddings": False, "bias": True}, {"optimizer": "sgd", "keep": "last"}),
    "sgd without momentum": ({}, {"optimizer": "sgd", "momentum": 0.0}),
    "nesterov": ({}, {"optimizer": "sgd", "nesterov": True}),
    "numpy": ({}, {"backend": "numpy"}),
    "numpy, dropout": ({"dropout": 0.2}, {"backend": "numpy", "accumulate": 2}),
    "numpy, sgd": ({"bias": True}, {"backend": "numpy", "optimizer": "sgd", "nesterov": True, "keep": "last"}),
    "numpy, sgd without momentum": ({}, {"backend": "numpy", "optimizer": "sgd", "momentum": 0.0}),
    "numpy, early stopping": ({}, {"backend": "numpy"} | STANDSTILL),
}


@pytest.mark.parametrize("variant", RESUMED)
def test_a_run_resumed_after_any_step_ends_as_one_that_never_stopped(variant: str) -> None:
    model, changes = RESUMED[variant]
    whole = small_trainer(model, **changes)
    states = [saved(whole), *(saved(whole) for _ in whole.run())]
    losses = list(small_trainer(model, **changes).run())
    assert len(states) == len(losses) + 1 == whole.step + 1
    for step, state in enumerate(states):
        resumed = small_trainer(model, **changes)
        resumed.load_state(state)
        assert list(resumed.run()) == losses[step:]
        assert same(saved(resumed), states[-1])
        assert (resumed.step_rows, resumed.valid_rows) == (whole.step_rows, whole.valid_rows)


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize(
    ("model", "changes", "error"),
    [
        ({"d_ff": 16}, {}, r"its shape of blocks\.0\.feed_forward\.\w+\.weight must be \[\d+, 8\], got \[\d+, 8\]"),
        ({"n_layers": 2}, {}, r"its shape of blocks\.1\.[\w.]+ must be None, got \[8\]"),
        ({}, {"optimizer": "sgd"}, "its optimizer must be adamw, got sgd"),
        ({}, {"optimizer": "muon"}, "its optimizer must be adamw, got muon"),
    ],
)
def test_the_state_of_another_model_or_optimizer_is_one_clear_error(
    backend: str, model: dict[str, Any], changes: dict[str, Any], error: str
) -> None:
    other = small_trainer(model, **changes, backend=backend, steps=2)
    list(other.run())
    trainer = small_trainer(backend=backend)
    before = trainer.backend.weights()
    with pytest.raises(ValueError, match=rf"^state: {error}$"):
        trainer.load_state(saved(other))
    assert trainer.step == 0
    assert same_arrays(trainer.backend.weights(), before)


def test_the_state_of_another_backend_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match=r"^state: its backend must be torch, got numpy$"):
        small_trainer().load_state(saved(small_trainer(backend="numpy")))


def test_the_comparison_of_states_sees_a_single_bit() -> None:
    trainer = small_trainer()
    list(trainer.run())
    one = saved(trainer)
    assert same(one, saved(trainer))
    for name, array in one.arrays.items():
        other = saved(trainer)
        is_float = np.issubdtype(array.dtype, np.floating)
        other.arrays[name].flat[0] = np.nextafter(array.flat[0], array.dtype.type(math.inf)) if is_float else 7
        assert not same(one, other), name
    other = saved(trainer)
    other.values["step"] += 1
    assert not same(one, other)


def test_a_state_holds_weights_moments_and_the_weights_kept() -> None:
    for backend in BACKENDS:
        trainer = small_trainer(backend=backend)
        list(trainer.run())
        state = saved(trainer)
        names = list(trainer.kept_weights)
        assert names == list(weights_of(state)) == list(state.part("kept"))
        assert len(State(state.part("backend"), {}).part("moments")) == 2 * len(names)  # Adam's
        assert len(state.arrays) == 4 * len(names) + 6 + 4  # and the columns of the two curves


BACKENDS = ["torch", "numpy"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_decides_the_run(backend: str) -> None:
    one, again, other = (small_trainer({"dropout": 0.1}, seed, backend=backend) for seed in (1, 1, 2))
    losses = list(one.run())
    assert list(again.run()) == losses
    assert same(saved(one), saved(again))
    assert set(other.run()).isdisjoint(losses)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", [{"valid_every": 1}, {"valid_every": 8}, {"valid_sequences": 1}])
def test_validation_does_not_change_what_is_learned(backend: str, changes: dict[str, Any]) -> None:
    expected, other = (small_trainer({"dropout": 0.2}, backend=backend, **change) for change in ({}, changes))
    assert list(expected.run()) == list(other.run())
    assert same_arrays(expected.backend.weights(), other.backend.weights())


@pytest.mark.parametrize(
    ("backend", "precision"), [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("numpy", "fp32")]
)
def test_the_loss_falls(backend: str, precision: str) -> None:
    trainer = small_trainer(steps=60, valid_every=60, backend=backend, precision=precision, learning_rate=0.03)
    losses = list(trainer.run())
    assert losses[0] == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)  # small weights know nothing
    # Four of five tokens follow from the one before; to know that is worth more than one nat.
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert all(np.isfinite(weight).all() for weight in trainer.kept_weights.values())
    assert {weight.dtype for weight in trainer.kept_weights.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_losses_are_golden(backend: str) -> None:
    # float32 products are summed in an order that differs between processors: by 5e-7 between SSE and AVX-512. A change
    # of the data order, the initial weights, the schedule or the optimizer shows in the third decimal.
    losses = list(small_trainer({"n_layers": 2}, steps=5, seed=1337, backend=backend).run())
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=2e-5)


GOLDEN_LOSSES = [2.993198871612549, 2.956075668334961, 2.9243340492248535, 2.9051766395568848, 2.8707621097564697]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_gives_the_same_steps_within_rounding(backend: str, accumulate: int) -> None:
    # SGD, for AdamW divides rounding errors by gradients that may be as small. Means of parts are rounded by 1e-7 of
    # their value, and a dozen steps multiply that by little.
    changes: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.3, "clip_norm": None, "steps": 12}
    changes["backend"] = backend
    whole, parts = small_trainer(**changes), small_trainer(accumulate=accumulate, **changes)
    np.testing.assert_allclose(list(parts.run()), list(whole.run()), rtol=0, atol=1e-5)
    weights = parts.backend.weights()
    for name, weight in whole.backend.weights().items():
        np.testing.assert_allclose(weights[name], weight, rtol=0, atol=1e-5)
    accuracies = [[row.accuracy for row in trainer.step_rows] for trainer in (whole, parts)]
    np.testing.assert_allclose(accuracies[0], accuracies[1], rtol=0, atol=1e-6)


def test_every_step_has_a_row() -> None:
    trainer = small_trainer(steps=8)
    losses = list(trainer.run())
    assert [row.step for row in trainer.step_rows] == list(range(1, 9))
    assert [row.loss for row in trainer.step_rows] == losses
    assert [row.tokens for row in trainer.step_rows] == [32 * step for step in range(1, 9)]
    assert [row.learning_rate for row in trainer.step_rows] == [trainer.learning_rate(step) for step in range(8)]
    assert all(0 <= row.accuracy <= 1 and row.gradient_norm > 0 for row in trainer.step_rows)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "wsd"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_step_of_a_rate_that_falls_to_nothing_still_changes_the_weights(backend: str, schedule: str) -> None:
    changes: dict[str, Any] = {"schedule": schedule, "final_learning_rate": 0.0, "warmup_steps": 0}
    for steps in (1, 3):
        trainer = small_trainer(backend=backend, steps=steps, **changes)
        before = trainer.backend.weights()
        for _ in trainer.run():
            weights = trainer.backend.weights()
            assert not same_arrays(before, weights)
            before = weights


def test_the_recent_loss_is_the_mean_of_the_last_ten_steps_that_were_taken() -> None:
    trainer = small_trainer(steps=12)
    assert trainer.recent_loss is None
    losses = list(trainer.run())
    assert trainer.recent_loss == pytest.approx(np.mean(losses[-10:]), rel=1e-14)  # a mean in float64
    _, skipping = scripted([(1.0, 1.0), (math.nan, 1.0), (4.0, 1.0)], steps=3, if_diverged="skip")
    list(skipping.run())
    assert skipping.recent_loss == 2.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_validation_is_the_mean_over_the_same_windows_each_time(backend: str) -> None:
    # 5 windows in batches of 4 and 1: the mean must count windows, not batches. Dropout takes no part.
    trainer = small_trainer({"dropout": 0.5}, backend=backend, valid_sequences=5, **STANDSTILL)
    list(trainer.run())
    model = Transformer(model_config(n_layers=1, d_model=8, d_ff=12), VOCAB_SIZE)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in trainer.backend.weights().items()})
    batch = VALID.spread(5)
    inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
    with torch.no_grad():
        log_p = torch.log_softmax(model(inputs).double(), -1)
    expected = -log_p.gather(-1, targets[..., None]).mean().item()
    # Losses of 3 in float32.
    assert [row.loss for row in trainer.valid_rows] == pytest.approx([expected] * 2, abs=1e-6)
    accuracy = (log_p.argmax(-1) == targets).double().mean().item()
    assert [row.accuracy for row in trainer.valid_rows] == pytest.approx([accuracy] * 2, abs=1e-6)
    assert [(row.step, row.tokens) for row in trainer.valid_rows] == [(3, 96), (6, 192)]


OVERFITTING: dict[str, Any] = {"steps": 40, "valid_every": 4, "learning_rate": 0.05, "schedule": "constant"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_kept_are_those_of_the_best_or_the_last_validation(backend: str, keep: str) -> None:
    trainer = small_trainer(backend=backend, keep=keep, **OVERFITTING)
    weights = [weights_of(saved(trainer)) for _ in trainer.run()]
    best = min(trainer.valid_rows, key=lambda row: row.loss).step
    assert [row.step for row in trainer.valid_rows] == list(range(4, 41, 4))
    assert best < 40, "the noise was learned; the test needs validation to grow worse"
    assert trainer.kept_step == (best if keep == "best" else 40)
    assert same_arrays(trainer.kept_weights, weights[trainer.kept_step - 1])


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_stops_after_so_many_validations_without_a_new_best(patience: int) -> None:
    trainer = small_trainer(**(OVERFITTING | {"patience": patience}))
    list(trainer.run())
    losses = [row.loss for row in trainer.valid_rows]
    best = losses.index(min(losses))
    assert trainer.stopped_early
    assert trainer.done
    assert len(losses) - 1 - best == patience
    assert trainer.step == 4 * len(losses) < 40
    assert list(trainer.run()) == []


def test_a_tie_is_no_new_best() -> None:
    trainer = small_trainer(**STANDSTILL)
    list(trainer.run())
    assert [row.step for row in trainer.valid_rows] == [3, 6]
    assert (trainer.kept_step, trainer.stopped_early, trainer.step) == (3, True, 6)


def test_a_budget_of_tokens_decides_the_steps() -> None:
    assert small_trainer(tokens=32 * 3 + 31, warmup_steps=0).n_steps == 3
    assert small_trainer(tokens=1, warmup_steps=0).n_steps == 1
    trainer = small_trainer(tokens=32 * 3, warmup_steps=0)
    assert len(list(trainer.run())) == 3
    assert trainer.step_rows[-1].tokens == 96


def test_a_warm_up_longer_than_the_run_is_a_clear_error() -> None:
    assert small_trainer(warmup_steps=8).n_warmup_steps == 8
    with pytest.raises(ValueError, match=r"^train\.warmup_steps: must be at most the run's 8 steps, got 9$"):
        small_trainer(warmup_steps=9)
    assert small_trainer(steps=100, warmup_steps=None).n_warmup_steps == 5


@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu", "silu", "relu2"])
@pytest.mark.parametrize(("backend", "precision"), [("torch", "fp32"), ("torch", "bf16"), ("numpy", "fp32")])
def test_a_run_that_diverges_names_the_step_and_keeps_the_state_before_it(
    backend: str, precision: str, feed_forward: str
) -> None:
    diverging: dict[str, Any] = {"learning_rate": 1e30, "clip_norm": None, "schedule": "constant", "warmup_steps": 0}
    trainer = small_trainer({"feed_forward": feed_forward}, backend=backend, precision=precision, **diverging)
    run = trainer.run()
    state = saved(trainer)

    def take_all() -> None:
        nonlocal state
        for _ in run:
            state = saved(trainer)

    with pytest.raises(ValueError, match=r"^train: loss and gradient norm must stay finite") as caught:
        take_all()
    found = re.search(
        r"got loss=(\S+) and gradient norm=(\S+) at step (\d+) with learning rate (\S+);", str(caught.value)
    )
    assert found is not None
    loss, norm, step, rate = found.groups()
    assert not (math.isfinite(float(loss)) and math.isfinite(float(norm)))
    assert int(step) == trainer.step + 1
    assert float(rate) == 1e30
    assert 1 <= trainer.step < 8
    assert same(saved(trainer), state)
    assert all(np.isfinite(weight).all() for weight in trainer.backend.weights().values())


def test_float16_skips_a_step_whose_gradients_overflow_and_lowers_its_scale() -> None:
    trainer = small_trainer(precision="fp16")
    state = saved(trainer)
    state.values["backend"]["scaler"]["scale"] = 2.0**40  # beyond float16, so the first steps overflow
    trainer.load_state(state)
    run = trainer.run()
    next(run)
    after = saved(trainer)
    assert same_arrays(weights_of(after), weights_of(state))
    assert after.values["backend"]["scaler"]["scale"] == 2.0**39
    assert trainer.step == 1
    state.values["backend"]["scaler"]["scale"] = 1.0  # as low as it is tried: an overflow now is the model's own
    trainer.load_state(state)
    next(trainer.run())
    assert not same_arrays(weights_of(saved(trainer)), weights_of(state))


def test_a_row_with_a_norm_beyond_all_numbers_survives_the_file() -> None:
    trainer = small_trainer(precision="fp16")
    state = saved(trainer)
    state.values["backend"]["scaler"]["scale"] = 2.0**40
    trainer.load_state(state)
    next(trainer.run())
    resumed = small_trainer(precision="fp16")
    resumed.load_state(saved(trainer))
    assert not math.isfinite(trainer.step_rows[0].gradient_norm)
    assert same(saved(resumed), saved(trainer))


def windows_seen(trainer: Trainer) -> Iterator[list[list[int]]]:
    seen: list[list[int]] = []
    model = torch_model(trainer)

    def see(_: object, inputs: tuple[torch.Tensor]) -> None:
        if model.training:  # validation may follow in the same step
            seen.extend(inputs[0].tolist())

    hook = model.embedding.register_forward_pre_hook(see)
    for _ in trainer.run():
        yield seen.copy()
        seen.clear()
    hook.remove()


def test_step_s_sees_the_batch_that_the_seed_and_s_decide() -> None:
    expected = TRAIN.draw(7, 0, 8 * 4).inputs.reshape(8, 4, 8).tolist()
    assert list(windows_seen(small_trainer(seed=7))) == expected
    assert list(windows_seen(small_trainer(seed=7, accumulate=4))) == expected


def test_a_trainer_that_goes_back_to_an_earlier_state_takes_the_same_steps_again() -> None:
    trainer = small_trainer({"dropout": 0.2})
    start = saved(trainer)
    first = [loss for loss, _ in zip(trainer.run(), range(3), strict=False)]
    trainer.load_state(start)
    assert list(trainer.run())[:3] == first  # and not with the batch that was drawn ahead


RAMP: dict[str, Any] = {"accumulate": 4, "ramp_steps": 6}


def test_a_ramp_shows_one_part_of_a_batch_and_ever_more_and_no_window_twice() -> None:
    expected = TRAIN.draw(7, 0, 100).inputs.tolist()
    seen = list(windows_seen(small_trainer(seed=7, **RAMP)))
    assert [len(step) for step in seen] == [1, 1, 2, 3, 3, 4, 4, 4]
    assert [window for step in seen for window in step] == expected[: 1 + 1 + 2 + 3 + 3 + 4 + 4 + 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_ramp_counts_the_tokens_it_has_seen(backend: str) -> None:
    trainer = small_trainer(backend=backend, **RAMP)
    counts = [trainer.tokens() for _ in trainer.run()]
    assert counts == [8 * n for n in (1, 2, 4, 7, 10, 14, 18, 22)]
    assert [row.tokens for row in trainer.step_rows] == counts
    assert [(row.step, row.tokens) for row in trainer.valid_rows] == [(3, 32), (6, 112), (8, 176)]
    assert [trainer.tokens(step) for step in (0, 1, 8, 9)] == [0, 8, 176, 208]


def test_after_the_ramp_steps_see_a_whole_batch_as_without_one() -> None:
    backend, trainer = scripted([(3.0, 1.0)] * 8, **RAMP)
    list(trainer.run())
    parts = [ask[1] for ask in backend.asked if ask[0] == "gradient"]
    assert [len(step) for step in parts] == [1, 1, 2, 3, 3, 4, 4, 4]
    assert {len(part) for step in parts for part in step} == {1}


class Scripted:
    """A backend that measures what a script says, a loss and a norm a step, and notes what it is asked."""

    team = Team()
    model_config = model_config()
    table: ClassVar[Table] = {}
    compute_report = ComputeReport({}, [])

    def __init__(self, script: Sequence[tuple[float, float]], may_overflow: bool = False) -> None:
        self.may_overflow = may_overflow
        self.valid_loss = 1.0
        self.asked: list[Any] = []
        self._script = iter(script)

    def gradient(self, parts: Sequence[Batch], noise: tuple[int, int]) -> tuple[Measurement, float]:
        loss, norm = next(self._script)
        self.asked.append(("gradient", [part.inputs.tolist() for part in parts], noise))
        return Measurement(loss, 0.5), norm

    def update(self, learning_rate: float) -> None:
        self.asked.append(("update", learning_rate))

    def measure(self, batch: Batch) -> Measurement:
        self.asked.append(("measure", len(batch)))
        return Measurement(self.valid_loss, 0.5)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def state(self) -> State:
        return State({}, {})

    def load_state(self, state: State) -> None:
        assert (state.arrays, state.values) == ({}, {})


def scripted(
    script: Sequence[tuple[float, float]], may_overflow: bool = False, **changes: Any
) -> tuple[Scripted, Trainer]:
    backend = Scripted(script, may_overflow)
    config = train_config(**(TRAIN_CHANGES | {"accumulate": 2, "valid_sequences": 5} | changes))
    return backend, Trainer(backend, TRAIN, VALID, config, seed=7)


def test_a_step_asks_for_the_gradient_of_its_parts_with_its_noise_and_then_for_an_update_at_its_rate() -> None:
    backend, trainer = scripted([(3.0, 1.0)] * 8)
    assert list(trainer.run()) == [3.0] * 8
    expected: list[Any] = []
    for step in range(8):
        windows = TRAIN.draw(7, step * 4, 4).inputs
        expected.append(("gradient", [windows[:2].tolist(), windows[2:].tolist()], (7, step)))
        expected.append(("update", trainer.learning_rate(step)))
        if step + 1 in (3, 6, 8):
            expected += [("measure", 2), ("measure", 2), ("measure", 1)]
    assert backend.asked == expected


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)])
def test_no_update_follows_a_loss_or_a_gradient_that_is_no_number(loss: float, norm: float) -> None:
    backend, trainer = scripted([(3.0, 1.0), (loss, norm)])
    with pytest.raises(ValueError, match=rf"got loss={loss:g} and gradient norm={norm:g} at step 2 with "):
        list(trainer.run())
    assert [ask[0] for ask in backend.asked] == ["gradient", "update", "gradient"]
    assert trainer.step == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, 700.0, 5214.0])
def test_weights_whose_validation_loss_has_no_finite_perplexity_are_not_kept(loss: float) -> None:
    backend, trainer = scripted([(3.0, 1.0)] * 8)
    backend.valid_loss = loss
    with pytest.raises(
        ValueError, match=rf"^train: validation loss must stay below 700 nats a token, got {loss:g} at step 3 with "
    ):
        list(trainer.run())
    assert (trainer.kept_step, trainer.valid_rows) == (0, [])


@pytest.mark.parametrize("n_steps", [3, 8], ids=["midway", "at the end"])
def test_a_run_that_a_validation_has_ended_begins_with_it_when_it_goes_on(n_steps: int) -> None:
    failing, trainer = scripted([(3.0, 1.0)] * 8, valid_every=n_steps)
    failing.valid_loss = math.nan
    with pytest.raises(DivergedError, match=f"at step {n_steps} with "):
        list(trainer.run())
    for loss in (math.nan, 1.0):  # the same again, and one that has got over it
        backend, resumed = scripted([(3.0, 1.0)] * 8, valid_every=n_steps)
        backend.valid_loss = loss
        resumed.load_state(trainer.state())
        assert resumed.step == n_steps
        if math.isnan(loss):
            with pytest.raises(DivergedError, match=f"at step {n_steps} with "):
                list(resumed.run())
        else:
            assert len(list(resumed.run())) == 8 - n_steps
            assert resumed.valid_rows[0].step == n_steps


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_backend_that_may_overflow_is_left_to_skip_the_step_itself(norm: float) -> None:
    backend, trainer = scripted([(3.0, norm), (math.inf, 1.0)], may_overflow=True)
    with pytest.raises(ValueError, match="at step 2 with "):  # a loss that is no number stays an error
        list(trainer.run())
    assert [ask[0] for ask in backend.asked] == ["gradient", "update", "gradient"]


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("valid_every", [1, 8])
def test_a_run_that_may_diverge_ends_there_with_the_last_weights_that_were_good(backend: str, valid_every: int) -> None:
    diverging: dict[str, Any] = {"learning_rate": 1e30, "clip_norm": None, "schedule": "constant", "warmup_steps": 0}
    settings = diverging | {"backend": backend, "valid_every": valid_every}
    failing = small_trainer(**settings)
    initial = failing.backend.weights()
    with pytest.raises(DivergedError):
        list(failing.run())

    trainer = small_trainer(**settings, if_diverged="record")
    list(trainer.run())
    assert trainer.diverged
    assert trainer.done
    assert not failing.diverged
    assert trainer.step == failing.step
    assert trainer.valid_rows == failing.valid_rows
    assert trainer.kept_step == max((row.step for row in trainer.valid_rows), default=0)
    if not trainer.valid_rows:
        assert same(State(trainer.kept_weights, {}), State(initial, {}))
    assert all(np.isfinite(weight).all() for weight in trainer.kept_weights.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_whose_loss_grows_beyond_all_bounds_but_stays_finite_has_diverged(backend: str) -> None:
    growing: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 10.0, "steps": 40, "valid_every": 20}
    for if_diverged in ("fail", "record"):
        trainer = small_trainer({"norm": "none"}, backend=backend, if_diverged=if_diverged, **growing)
        with pytest.raises(DivergedError) if if_diverged == "fail" else nullcontext():
            list(trainer.run())
        losses = [row.loss for row in trainer.step_rows]
        assert np.isfinite(losses).all()
        assert max(losses) > 700
        summary = trainer.summary()
        assert summary["diverged"] == (if_diverged == "record")
        assert (summary["steps"], summary["kept_step"], summary["valid_loss"]) == (20, 0, None)
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_run_that_may_diverge_but_does_not_is_the_same_run() -> None:
    plain, recording = small_trainer(), small_trainer(if_diverged="record")
    assert list(plain.run()) == list(recording.run())
    assert not recording.diverged
    assert same(saved(plain), saved(recording))


GOOD, BAD = (3.0, 1.0), (math.nan, 1.0)
SKIP: dict[str, Any] = {"if_diverged": "skip"}


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (-math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)])
def test_a_step_that_is_no_number_is_left_out(bad: tuple[float, float]) -> None:
    backend, trainer = scripted([GOOD, bad, GOOD, GOOD], steps=4, **SKIP)
    assert [math.isnan(loss) for loss in trainer.run()] == [False, True, False, False]
    assert [ask[0] for ask in backend.asked if ask[0] != "measure"] == [
        *("gradient", "update"),
        "gradient",
        *("gradient", "update") * 2,
    ]
    assert [ask[2] for ask in backend.asked if ask[0] == "gradient"] == [(7, step) for step in range(4)]
    assert trainer.skipped_steps == [1]
    assert (trainer.step, trainer.done, trainer.diverged) == (4, True, False)


def test_the_row_of_a_step_that_was_left_out_has_its_learning_rate_alone() -> None:
    _, trainer = scripted([GOOD, BAD, GOOD], steps=3, **SKIP)
    list(trainer.run())
    row = trainer.step_rows[1]
    assert (row.step, row.tokens, row.learning_rate) == (2, 64, trainer.learning_rate(1))
    assert all(math.isnan(value) for value in (row.loss, row.accuracy, row.gradient_norm))
    assert [row.step for row in trainer.valid_rows] == [3]  # of weights that are as good as before


@pytest.mark.parametrize("n_good", [0, 3])
def test_ten_steps_in_a_row_that_are_no_numbers_fail(n_good: int) -> None:
    script = [GOOD] * n_good + [BAD] * 20
    backend, trainer = scripted(script, steps=30, valid_every=30, **SKIP)
    with pytest.raises(DivergedError, match=rf"got loss=nan and gradient norm=1 at step {n_good + 10} with "):
        list(trainer.run())
    assert trainer.skipped_steps == list(range(n_good, n_good + 9))
    assert trainer.step == n_good + 9
    assert sum(ask[0] == "update" for ask in backend.asked) == n_good


def test_ten_such_steps_that_are_not_in_a_row_do_not() -> None:
    _, trainer = scripted(([BAD] * 9 + [GOOD]) * 3, steps=30, **SKIP)
    assert len(list(trainer.run())) == 30
    assert len(trainer.skipped_steps) == 27


def test_a_run_that_failed_after_ten_such_steps_goes_on_where_it_was() -> None:
    _, trainer = scripted([GOOD] + [BAD] * 10, steps=30, valid_every=30, **SKIP)
    with pytest.raises(DivergedError):
        list(trainer.run())
    for script, fails in (([BAD], True), ([GOOD, BAD, GOOD], False)):
        _, resumed = scripted(script + [GOOD] * 30, steps=30, valid_every=30, **SKIP)
        resumed.load_state(saved(trainer))
        assert (resumed.step, resumed.skipped_steps) == (10, list(range(1, 10)))
        run = resumed.run()
        if fails:
            with pytest.raises(DivergedError, match="at step 11 with"):
                next(run)
        else:
            assert len(list(run)) == 20
            assert resumed.skipped_steps == [*range(1, 10), 11]


def test_only_skip_leaves_steps_out() -> None:
    _, failing = scripted([GOOD, BAD])
    with pytest.raises(DivergedError):
        list(failing.run())
    _, recording = scripted([GOOD, BAD], if_diverged="record")
    assert list(recording.run()) == [3.0]
    assert failing.skipped_steps == recording.skipped_steps == []


@pytest.mark.parametrize(
    ("backend", "precision"), [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("numpy", "fp32")]
)
def test_a_step_left_out_changes_nothing_and_the_next_one_goes_on(backend: str, precision: str) -> None:
    # Weights that make the loss no number for a while, as a fault of the hardware may.
    changes: dict[str, Any] = {"backend": backend, "precision": precision, "valid_every": 8} | SKIP
    trainer = small_trainer(**changes)
    run = trainer.run()
    next(run), next(run)
    good = saved(trainer)
    broken = State({name: array.copy() for name, array in good.arrays.items()}, good.values)
    broken.arrays["backend/weights/blocks.0.feed_forward.down.weight"][:] = math.nan
    trainer.load_state(broken)
    assert math.isnan(next(trainer.run()))
    after = saved(trainer)
    assert same_arrays(weights_of(after), weights_of(broken))
    assert same_arrays(after.part("backend"), broken.part("backend"))
    assert (trainer.skipped_steps, trainer.step) == ([2], 3)
    # With the weights mended the same trainer takes its next step as one does that never saw the fault.
    other = small_trainer(**changes)
    for mended in (trainer, other):
        mended.load_state(State({name: array.copy() for name, array in good.arrays.items()}, after.values))
    losses = list(trainer.run())
    assert losses == list(other.run())
    assert np.isfinite(losses).all()
    assert same(saved(trainer), saved(other))


def test_what_a_run_is_computed_with_is_noted_from_the_step_on_where_it_changes() -> None:
    here, there = {"threads": 1, "library": "torch"}, {"threads": 2, "library": "torch"}
    trainer = scripted([GOOD] * 8)[1]
    assert not trainer.note_computed(here)
    assert trainer.computed == [{"from_step": 0, **here}]
    list(zip(range(3), trainer.run(), strict=False))
    for facts, differing in (
        (here, []),
        (there, ["threads 1, now 2"]),
        (there, ["threads 1, now 2"]),
        (here, ["threads 2, now 1"]),
    ):
        resumed = scripted([GOOD] * 8)[1]
        resumed.load_state(saved(trainer))
        assert resumed.note_computed(dict(facts)) == differing
        next(resumed.run())
        trainer = resumed
    assert [(entry["from_step"], entry["threads"]) for entry in trainer.computed] == [(0, 1), (4, 2), (6, 1)]
    list(trainer.run())
    assert trainer.note_computed(there) == []  # no step follows
    assert len(trainer.computed) == 3


class EveryOther:
    """A source of which every other validation row counts, the second one first."""

    context_length = TRAIN.context_length
    draw = TRAIN.draw

    def spread(self, count: int) -> Batch:
        batch = VALID.spread(count)
        counts = np.arange(len(batch)) % 2
        return replace(batch, weights=batch.weights * counts.astype(np.float32)[:, None])


@pytest.mark.parametrize("backend", BACKENDS)
def test_validation_leaves_out_parts_without_weight(backend: str) -> None:
    trainer = small_trainer(backend=backend, batch_size=1, valid_sequences=4, steps=3)
    masked = Trainer(trainer.backend, TRAIN, EveryOther(), trainer.config, seed=1)
    list(masked.run())
    losses = [masked.backend.measure(VALID.spread(4).rows(i, i + 1)).loss for i in (1, 3)]
    assert masked.valid_rows[-1].loss == sum(losses) / 2


def test_a_validation_without_any_weight_is_an_error() -> None:
    trainer = small_trainer(valid_sequences=1)
    with pytest.raises(
        ValueError, match=r"^validation: the weights of its predictions must add up to more than 0, got 0$"
    ):
        Trainer(trainer.backend, TRAIN, EveryOther(), trainer.config, seed=1)


def test_a_gradient_of_zero_stops_a_run_whose_loss_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_dead_gradient(loss: float, **changes: Any) -> Trainer:
        trainer = small_trainer(**changes)
        monkeypatch.setattr(trainer.backend, "gradient", lambda parts, noise: (Measurement(loss, 0.1), 0.0))
        return trainer

    with pytest.raises(
        ValueError, match=r"^train: the gradient must not be 0 while the loss is 3, at step 1; try "
    ) as e:
        list(with_dead_gradient(3.0).run())
    assert not isinstance(e.value, DivergedError)
    trainer = small_trainer(if_diverged="record")
    steps = trainer.run()
    next(steps)
    monkeypatch.setattr(trainer.backend, "gradient", lambda parts, noise: (Measurement(3.0, 0.1), 0.0))
    list(steps)  # a step that was too large has left a model without gradient
    assert trainer.diverged
    assert trainer.step == 1
    trainer = small_trainer(if_diverged="skip")
    steps = trainer.run()
    next(steps)
    gradient = trainer.backend.gradient
    monkeypatch.setattr(trainer.backend, "gradient", lambda parts, noise: (Measurement(3.0, 0.1), 0.0))
    assert math.isnan(next(steps))
    monkeypatch.setattr(trainer.backend, "gradient", gradient)
    assert not any(map(math.isnan, steps))
    assert trainer.skipped_steps == [1]
    trainer = with_dead_gradient(0.0)  # nothing is left to learn
    monkeypatch.setattr(trainer.backend, "update", lambda rate: None)
    list(trainer.run())
