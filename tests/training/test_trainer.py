"""Tests of lm/training/trainer.py."""

import io
import math
import re
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.model.transformer import Transformer
from lm.tokens import TokenFile
from lm.training.trainer import Trainer
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
    config = model_config(**({"n_layers": 1, "d_model": 8, "d_ff": 12} | (model or {})))
    changes = TRAIN_CHANGES | changes
    return Trainer(
        Transformer(config, VOCAB_SIZE, seed), TRAIN, VALID, train_config(**changes), seed, torch.device("cpu")
    )


def saved(trainer: Trainer) -> dict[str, Any]:
    """The state as it comes back from disk."""
    file = io.BytesIO()
    torch.save(trainer.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


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
        resumed.load_state_dict(state)
        assert list(resumed.run()) == losses[step:]
        assert same(saved(resumed), states[-1])
        assert (resumed.train_rows, resumed.valid_rows) == (whole.train_rows, whole.valid_rows)


def test_the_comparison_of_states_sees_a_single_bit() -> None:
    trainer = small_trainer()
    list(trainer.run())
    one, other = saved(trainer), saved(trainer)
    assert same(one, other)
    name = next(iter(other["model"]))
    other["model"][name][0] = torch.nextafter(other["model"][name][0], torch.tensor(math.inf))
    assert not same(one, other)


def test_a_seed_decides_the_run() -> None:
    one, again, other = (small_trainer({"dropout": 0.1}, seed) for seed in (1, 1, 2))
    losses = list(one.run())
    assert list(again.run()) == losses
    assert same(saved(one), saved(again))
    assert set(other.run()).isdisjoint(losses)


@pytest.mark.parametrize("changes", [{"valid_every": 1}, {"valid_every": 8}, {"log_every": 3}, {"valid_sequences": 1}])
def test_neither_validation_nor_logging_changes_what_is_learned(changes: dict[str, Any]) -> None:
    expected, other = small_trainer({"dropout": 0.2}), small_trainer({"dropout": 0.2}, **changes)
    assert list(expected.run()) == list(other.run())
    assert same(expected.model.state_dict(), other.model.state_dict())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_loss_falls(precision: str) -> None:
    trainer = small_trainer(steps=60, valid_every=60, precision=precision, learning_rate=0.03)
    losses = list(trainer.run())
    assert losses[0] == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)  # small weights know nothing
    # Four of five tokens follow from the one before; to know that is worth more than one nat.
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert all(torch.isfinite(weight).all() for weight in trainer.kept_weights.values())
    assert {weight.dtype for weight in trainer.kept_weights.values()} == {torch.float32}


def test_the_first_losses_are_golden() -> None:
    # float32 products are summed in an order that differs between processors: by 5e-7 between SSE and AVX-512. A change
    # of the data order, the initial weights, the schedule or the optimizer shows in the third decimal.
    losses = list(small_trainer({"n_layers": 2}, steps=5, seed=1337).run())
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=2e-5)


GOLDEN_LOSSES = [2.999239921569824, 2.9686219692230225, 2.932474374771118, 2.932955741882324, 2.875013589859009]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_gives_the_same_steps_within_rounding(accumulate: int) -> None:
    # SGD, for AdamW divides rounding errors by gradients that may be as small. Means of parts are rounded by 1e-7 of
    # their value, and a dozen steps multiply that by little.
    changes: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.3, "clip_norm": None, "steps": 12}
    whole, parts = small_trainer(**changes), small_trainer(accumulate=accumulate, **changes)
    np.testing.assert_allclose(list(parts.run()), list(whole.run()), rtol=0, atol=1e-5)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], weight, rtol=0, atol=1e-5)
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


def test_a_row_of_validation_is_the_mean_over_the_same_windows_each_time() -> None:
    # 5 windows in batches of 4 and 1: the mean must count windows, not batches. Dropout takes no part.
    trainer = small_trainer({"dropout": 0.5}, valid_sequences=5, **STANDSTILL)
    list(trainer.run())
    trainer.model.eval()
    windows = torch.from_numpy(VALID.windows(8).spread(5))
    with torch.no_grad():
        log_p = torch.log_softmax(trainer.model(windows[:, :-1]).double(), -1)
    expected = -log_p.gather(-1, windows[:, 1:, None]).mean().item()
    # Losses of 3 in float32.
    assert [row.loss for row in trainer.valid_rows] == pytest.approx([expected] * 2, abs=1e-6)
    accuracy = (log_p.argmax(-1) == windows[:, 1:]).double().mean().item()
    assert [row.accuracy for row in trainer.valid_rows] == pytest.approx([accuracy] * 2, abs=1e-6)
    assert [(row.step, row.tokens) for row in trainer.valid_rows] == [(3, 96), (6, 192)]


OVERFITTING: dict[str, Any] = {"steps": 40, "valid_every": 4, "learning_rate": 0.05, "schedule": "constant"}


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_kept_are_those_of_the_best_or_the_last_validation(keep: str) -> None:
    trainer = small_trainer(keep=keep, **OVERFITTING)
    weights = [saved(trainer)["model"] for _ in trainer.run()]
    best = min(trainer.valid_rows, key=lambda row: row.loss).step
    assert [row.step for row in trainer.valid_rows] == list(range(4, 41, 4))
    assert best < 40, "the noise was learned; the test needs validation to grow worse"
    assert trainer.kept_step == (best if keep == "best" else 40)
    assert same(dict(trainer.kept_weights), dict(weights[trainer.kept_step - 1]))


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
            Trainer(Transformer(model_config(), VOCAB_SIZE), *files, train_config(), 1, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_diverges_names_the_step_and_keeps_the_state_before_it(precision: str) -> None:
    diverging: dict[str, Any] = {"learning_rate": 1e30, "clip_norm": None, "schedule": "constant", "warmup_steps": 0}
    trainer = small_trainer(precision=precision, **diverging)
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
    assert all(torch.isfinite(weight).all() for weight in trainer.model.state_dict().values())


def test_float16_skips_a_step_whose_gradients_overflow_and_lowers_its_scale() -> None:
    trainer = small_trainer(precision="fp16")
    state = saved(trainer)
    state["scaler"]["scale"] = 2.0**40  # beyond float16, so the first steps overflow
    trainer.load_state_dict(state)
    run = trainer.run()
    next(run)
    after = saved(trainer)
    assert same(after["model"], state["model"])
    assert after["scaler"]["scale"] == 2.0**39
    assert trainer.step == 1
    state["scaler"]["scale"] = 1.0  # as low as it is tried: an overflow now is the model's own
    trainer.load_state_dict(state)
    next(trainer.run())
    assert not same(saved(trainer)["model"], state["model"])


def windows_seen(trainer: Trainer) -> Iterator[list[list[int]]]:
    seen: list[list[int]] = []
    hook = trainer.model.register_forward_pre_hook(lambda _, args: seen.extend(args[0].tolist()))
    for _ in trainer.run():
        yield seen[:4]  # validation may follow in the same step
        seen.clear()
    hook.remove()


def test_step_s_sees_the_batch_that_the_seed_and_s_decide() -> None:
    expected = TRAIN.windows(8).draw(7, 0, 8 * 4)[:, :-1].reshape(8, 4, 8).tolist()
    assert list(windows_seen(small_trainer(seed=7))) == expected
    assert list(windows_seen(small_trainer(seed=7, accumulate=4))) == expected
