"""Tests of lm/training/trainer.py."""

import json
import math
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lm.model.transformer import Transformer
from lm.tokens import TokenFile
from lm.training.backend import Arrays, Measurement, State
from lm.training.build import build_backend
from lm.training.resume import ResumeFolder
from lm.training.torch_backend import TorchBackend
from lm.training.trainer import DivergedError, Trainer
from tests.small import model_config, random_documents, train_config, write_tokens

VOCAB_SIZE = 20


def small_files() -> tuple[TokenFile, TokenFile]:
    """Tokens with something to learn, to train on, and noise, on which a model grows worse the surer it is."""
    folder = tempfile.TemporaryDirectory()
    train = write_tokens(Path(folder.name), random_documents(20, 30, VOCAB_SIZE), VOCAB_SIZE, "train")
    noise = np.random.Generator(np.random.Philox(key=9)).integers(1, VOCAB_SIZE, (10, 12)).tolist()
    valid = write_tokens(Path(folder.name), noise, VOCAB_SIZE, "valid")
    weakref.finalize(train, folder.cleanup)
    return train, valid


TRAIN, VALID = small_files()
TRAIN_CHANGES: dict[str, Any] = {"steps": 8, "valid_every": 3, "log_every": 2}


def small_trainer(model: dict[str, Any] | None = None, seed: int = 1, **changes: Any) -> Trainer:
    shape = model_config(**({"n_layers": 1, "d_model": 8, "d_ff": 12} | (model or {})))
    config = train_config(**(TRAIN_CHANGES | changes))
    backend, _ = build_backend(config, shape, VOCAB_SIZE, seed)
    return Trainer(backend, TRAIN, VALID, config, shape.context_length, seed)


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
        assert (resumed.train_rows, resumed.valid_rows) == (whole.train_rows, whole.valid_rows)


def test_the_comparison_of_states_sees_a_single_bit() -> None:
    trainer = small_trainer()
    list(trainer.run())
    one = saved(trainer)
    assert same(one, saved(trainer))
    for name, array in one.arrays.items():
        other = saved(trainer)
        other.arrays[name].flat[0] = np.nextafter(array.flat[0], array.dtype.type(math.inf))
        assert not same(one, other), name
    other = saved(trainer)
    other.values["train_rows"][0]["loss"] = math.nextafter(other.values["train_rows"][0]["loss"], math.inf)
    assert not same(one, other)


def test_a_state_holds_weights_moments_and_the_weights_kept() -> None:
    for backend in BACKENDS:
        trainer = small_trainer(backend=backend)
        list(trainer.run())
        state = saved(trainer)
        names = list(trainer.kept_weights)
        assert names == list(weights_of(state)) == list(state.part("kept"))
        assert len(State(state.part("backend"), {}).part("moments")) == 2 * len(names)  # Adam's
        assert len(state.arrays) == 4 * len(names)


BACKENDS = ["torch", "numpy"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_decides_the_run(backend: str) -> None:
    one, again, other = (small_trainer({"dropout": 0.1}, seed, backend=backend) for seed in (1, 1, 2))
    losses = list(one.run())
    assert list(again.run()) == losses
    assert same(saved(one), saved(again))
    assert set(other.run()).isdisjoint(losses)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", [{"valid_every": 1}, {"valid_every": 8}, {"log_every": 3}, {"valid_sequences": 1}])
def test_neither_validation_nor_logging_changes_what_is_learned(backend: str, changes: dict[str, Any]) -> None:
    expected, other = (small_trainer({"dropout": 0.2}, backend=backend, **change) for change in ({}, changes))
    assert list(expected.run()) == list(other.run())
    assert same_arrays(expected.backend.weights(), other.backend.weights())


@pytest.mark.parametrize(
    ("backend", "precision"), [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("numpy", "auto")]
)
def test_the_loss_falls(backend: str, precision: str) -> None:
    trainer = small_trainer(steps=60, valid_every=60, backend=backend, precision=precision, learning_rate=0.03)
    losses = list(trainer.run())
    assert losses[0] == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)  # small weights know nothing
    # Four of five tokens follow from the one before; to know that is worth more than one nat.
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert all(np.isfinite(weight).all() for weight in trainer.kept_weights.values())
    assert {weight.dtype for weight in trainer.kept_weights.values()} == {np.dtype(np.float32)}


def test_the_precision_auto_is_bfloat16_in_pytorch_and_float32_in_numpy() -> None:
    for backend, precision in (("torch", "bf16"), ("numpy", "fp32")):
        auto, named = (list(small_trainer(backend=backend, precision=p).run()) for p in ("auto", precision))
        assert auto == named
    assert list(small_trainer(precision="auto").run()) != list(small_trainer(precision="fp32").run())


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_losses_are_golden(backend: str) -> None:
    # float32 products are summed in an order that differs between processors: by 5e-7 between SSE and AVX-512. A change
    # of the data order, the initial weights, the schedule or the optimizer shows in the third decimal.
    losses = list(small_trainer({"n_layers": 2}, steps=5, seed=1337, backend=backend).run())
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=2e-5)


GOLDEN_LOSSES = [2.999239921569824, 2.9686219692230225, 2.932474374771118, 2.932955741882324, 2.875013589859009]


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
    accuracies = [[row.accuracy for row in trainer.train_rows] for trainer in (whole, parts)]
    np.testing.assert_allclose(accuracies[0], accuracies[1], rtol=0, atol=1e-6)


def test_a_row_of_the_curve_is_the_mean_of_the_steps_since_the_row_before() -> None:
    trainer = small_trainer(steps=8, log_every=3)
    losses = list(trainer.run())
    assert [row.step for row in trainer.train_rows] == [3, 6, 8]
    # Means of two or three float64 numbers.
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    assert [row.loss for row in trainer.train_rows] == pytest.approx(expected, rel=1e-14)
    assert [row.tokens for row in trainer.train_rows] == [3 * 32, 6 * 32, 8 * 32]
    assert [row.learning_rate for row in trainer.train_rows] == [trainer.learning_rate(step) for step in (2, 5, 7)]
    assert trainer.train_rows[-1].learning_rate == 0.0
    assert all(0 <= row.accuracy <= 1 and row.gradient_norm > 0 for row in trainer.train_rows)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_validation_is_the_mean_over_the_same_windows_each_time(backend: str) -> None:
    # 5 windows in batches of 4 and 1: the mean must count windows, not batches. Dropout takes no part.
    trainer = small_trainer({"dropout": 0.5}, backend=backend, valid_sequences=5, **STANDSTILL)
    list(trainer.run())
    model = Transformer(model_config(n_layers=1, d_model=8, d_ff=12), VOCAB_SIZE)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in trainer.backend.weights().items()})
    windows = torch.from_numpy(VALID.windows(8).spread(5))
    with torch.no_grad():
        log_p = torch.log_softmax(model(windows[:, :-1]).double(), -1)
    expected = -log_p.gather(-1, windows[:, 1:, None]).mean().item()
    # Losses of 3 in float32.
    assert [row.loss for row in trainer.valid_rows] == pytest.approx([expected] * 2, abs=1e-6)
    accuracy = (log_p.argmax(-1) == windows[:, 1:]).double().mean().item()
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


def test_a_run_that_stops_early_has_its_last_steps_in_the_curve() -> None:
    trainer = small_trainer(log_every=100, **STANDSTILL)
    losses = list(trainer.run())
    assert [row.step for row in trainer.train_rows] == [6]
    assert trainer.train_rows[0].loss == pytest.approx(np.mean(losses), rel=1e-14)  # a mean in float64


def test_a_budget_of_tokens_decides_the_steps() -> None:
    assert small_trainer(tokens=32 * 3 + 31, warmup_steps=0).n_steps == 3
    assert small_trainer(tokens=1, warmup_steps=0).n_steps == 1
    trainer = small_trainer(tokens=32 * 3, warmup_steps=0)
    assert len(list(trainer.run())) == 3
    assert trainer.train_rows[-1].tokens == 96


def test_a_warm_up_longer_than_the_run_is_a_clear_error() -> None:
    assert small_trainer(warmup_steps=8).n_warmup_steps == 8
    with pytest.raises(ValueError, match=r"^train\.warmup_steps: must be at most the run's 8 steps, got 9$"):
        small_trainer(warmup_steps=9)
    assert small_trainer(steps=100, warmup_steps=None).n_warmup_steps == 5


def test_files_shorter_than_a_context_are_named(tmp_path: Path) -> None:
    short = write_tokens(tmp_path, [[1, 2]], VOCAB_SIZE, "short")
    for files in ((short, VALID), (TRAIN, short)):
        with pytest.raises(ValueError, match=r"short\.bin: must hold at least context_length \+ 1 = 9 tokens, got 3$"):
            Trainer(Scripted([]), *files, train_config(), 8, 1)


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
    trainer = small_trainer(precision="fp16", log_every=1)
    state = saved(trainer)
    state.values["backend"]["scaler"]["scale"] = 2.0**40
    trainer.load_state(state)
    next(trainer.run())
    resumed = small_trainer(precision="fp16", log_every=1)
    resumed.load_state(saved(trainer))
    assert not math.isfinite(trainer.train_rows[0].gradient_norm)
    assert same(saved(resumed), saved(trainer))


def windows_seen(trainer: Trainer) -> Iterator[list[list[int]]]:
    seen: list[list[int]] = []
    hook = torch_model(trainer).register_forward_pre_hook(lambda _, args: seen.extend(args[0].tolist()))
    for _ in trainer.run():
        yield seen[:4]  # validation may follow in the same step
        seen.clear()
    hook.remove()


def test_step_s_sees_the_batch_that_the_seed_and_s_decide() -> None:
    expected = TRAIN.windows(8).draw(7, 0, 8 * 4)[:, :-1].reshape(8, 4, 8).tolist()
    assert list(windows_seen(small_trainer(seed=7))) == expected
    assert list(windows_seen(small_trainer(seed=7, accumulate=4))) == expected


class Scripted:
    """A backend that measures what a script says, a loss and a norm a step, and notes what it is asked."""

    def __init__(self, script: Sequence[tuple[float, float]], may_overflow: bool = False) -> None:
        self.may_overflow = may_overflow
        self.valid_loss = 1.0
        self.asked: list[Any] = []
        self._script = iter(script)

    def gradient(self, parts: Sequence[NDArray[np.int64]], noise: tuple[int, int]) -> tuple[Measurement, float]:
        loss, norm = next(self._script)
        self.asked.append(("gradient", [part.tolist() for part in parts], noise))
        return Measurement(loss, 0.5), norm

    def update(self, learning_rate: float) -> None:
        self.asked.append(("update", learning_rate))

    def measure(self, windows: NDArray[np.int64]) -> Measurement:
        self.asked.append(("measure", len(windows)))
        return Measurement(self.valid_loss, 0.5)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def state(self) -> State:
        return State({}, {})

    def load_state(self, state: State) -> None:
        assert (state.arrays, state.values) == ({}, {})


def scripted(script: Sequence[tuple[float, float]], may_overflow: bool = False) -> tuple[Scripted, Trainer]:
    backend = Scripted(script, may_overflow)
    config = train_config(**(TRAIN_CHANGES | {"accumulate": 2, "valid_sequences": 5}))
    return backend, Trainer(backend, TRAIN, VALID, config, 8, seed=7)


def test_a_step_asks_for_the_gradient_of_its_parts_with_its_noise_and_then_for_an_update_at_its_rate() -> None:
    backend, trainer = scripted([(3.0, 1.0)] * 8)
    assert list(trainer.run()) == [3.0] * 8
    expected: list[Any] = []
    for step in range(8):
        windows = TRAIN.windows(8).draw(7, step * 4, 4)
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


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_weights_whose_validation_loss_is_no_number_are_not_kept(loss: float) -> None:
    backend, trainer = scripted([(3.0, 1.0)] * 8)
    backend.valid_loss = loss
    with pytest.raises(ValueError, match=rf"must stay finite, got validation loss={loss:g} at step 3 with "):
        list(trainer.run())
    assert (trainer.kept_step, trainer.valid_rows) == (0, [])


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


def test_a_run_that_may_diverge_but_does_not_is_the_same_run() -> None:
    plain, recording = small_trainer(), small_trainer(if_diverged="record")
    assert list(plain.run()) == list(recording.run())
    assert not recording.diverged
    assert same(saved(plain), saved(recording))
