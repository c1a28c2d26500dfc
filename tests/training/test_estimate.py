"""Tests of lm/training/estimate.py, and of what a run says of its time and memory."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lm.config.train import TrainConfig
from lm.formats.parameters import parameter_table
from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer
from lm.system.files import md5, read_json, write_json
from lm.system.memory import peak_memory_bytes
from lm.training import estimate
from lm.training import run as run_module
from lm.training.estimate import Speedometer, expected_s, facts_of_speed, least_bytes, training_flops
from lm.training.saved_runs import forget_recorded
from lm.training.timing import machine, utilisation
from tests.small import model_config, train_config
from tests.training.test_run import small_run

VOCAB_SIZE, ROWS = 50, 3
MODELS: list[dict[str, Any]] = [
    {},
    {"n_kv_heads": 1, "feed_forward": "gelu", "tie_embeddings": False, "positions": "learned", "qk_norm": True},
    {"norm": "layernorm", "bias": True, "n_layers": 3},
]


@pytest.mark.parametrize("changes", MODELS)
def test_operations_are_those_that_pytorch_counts(changes: dict[str, Any]) -> None:
    config = model_config(**changes)
    model = Transformer(config, VOCAB_SIZE, seed=0)
    ids = torch.zeros(ROWS, config.context_length, dtype=torch.long)
    # In the other kernels of attention the counter does not see the products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids).sum().backward()
    n_tokens = ROWS * config.context_length
    assert training_flops(config, parameter_table(config, VOCAB_SIZE), n_tokens) == counter.get_total_flops()


OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "adamw"},
    {"optimizer": "adam"},
    {"optimizer": "muon"},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.0},
]


@pytest.mark.parametrize("changes", OPTIMIZERS)
def test_the_least_memory_is_that_of_weights_gradients_kept_weights_and_what_the_optimizer_holds(
    changes: dict[str, Any],
) -> None:
    config, train = model_config(), train_config(**changes)
    model = Transformer(config, VOCAB_SIZE, seed=0)
    table = parameter_table(config, VOCAB_SIZE)
    optimizer = build_optimizer(model, table, train)
    model(torch.zeros(1, config.context_length, dtype=torch.long)).sum().backward()
    optimizer.step()
    means = [slot for slots in optimizer.state.values() for slot in slots.values() if isinstance(slot, torch.Tensor)]
    held = [
        *model.parameters(),
        *(p.grad for p in model.parameters() if p.grad is not None),
        *model.parameters(),
        *means,
    ]
    assert least_bytes(table, train) == sum(tensor.nbytes for tensor in held)


def note(folder: Path, name: str, flops: float, elapsed_s: list[float], config: TrainConfig, **changes: Any) -> None:
    folder.mkdir(exist_ok=True)
    values = {"machine": machine(), **facts_of_speed(flops, config), "steps": [1], "elapsed_s": elapsed_s}
    write_json(folder / f"{name}.json", values | changes)


def test_a_run_takes_as_long_as_the_earlier_run_most_like_it_on_this_machine_would(tmp_path: Path) -> None:
    config = train_config()
    assert expected_s(1e9, config, tmp_path / "none") is None
    note(tmp_path, "elsewhere", 1e9, [1.0], config, machine="Another machine")
    note(tmp_path, "numpy", 1e9, [1.0], train_config(backend="numpy"))
    note(tmp_path, "no-step", 1e9, [], config)
    write_json(tmp_path / "of-old.json", {"machine": machine(), "steps": [1], "elapsed_s": [1.0]})
    assert expected_s(1e9, config, tmp_path) is None
    note(tmp_path, "small", 1e9, [0.5, 4.0], config)
    note(tmp_path, "large", 1e12, [100.0], config)
    assert expected_s(2e9, config, tmp_path) == pytest.approx(8.0)
    assert expected_s(5e11, config, tmp_path) == pytest.approx(50.0)
    assert expected_s(2e14, config, tmp_path) is None  # nothing near it was timed


def test_the_pace_is_that_of_the_steps_after_the_first_and_is_told_once() -> None:
    speedometer = Speedometer(n_tokens=1000)
    laps = [(60.0, 100), (61.0, 110), (62.0, 120), (62.5, 130), (63.0, 140), (64.0, 150)]  # the first one compiles
    assert [speedometer.rest_s(*lap) for lap in laps] == [None, None, None, None, 3.0 / 40 * 860, None]


def test_a_run_says_how_long_it_will_take_and_how_much_memory_it_has_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "_FIRST_S", 0.0)
    monkeypatch.setattr(run_module, "peak_flops", lambda facts: {"cpu": 1e7}[facts["device"]])
    curve = tmp_path / "steps.csv"
    curve.write_text("step\n")
    said: list[str] = []
    for _ in range(2):
        with small_run(tmp_path) as run:
            run.take_steps()
            run.finish([curve], curve)
        forget_recorded(tmp_path / "states", [md5(curve)])
        said.append(capsys.readouterr().err)
    assert "in all" not in said[0]  # nothing had been timed
    assert "of training left, and the validations; " in said[0]
    (memory,) = re.findall(r"; ([\d.]+) GiB of memory used so far", said[0])
    assert float(memory) == pytest.approx((peak_memory_bytes() or 0) / 2**30, rel=0.2)
    assert said[0].count("of training left") == 1
    assert " s in all, if it is as fast as the earlier run" in said[1]
    (timing,) = (tmp_path / "timings").iterdir()
    trainer = run.trainer
    flops = training_flops(trainer.backend.model_config, trainer.backend.table, trainer.tokens())
    values = read_json(timing)
    assert facts_of_speed(flops, trainer.config, 1e7).items() <= values.items()
    assert utilisation(values) == pytest.approx(flops / values["elapsed_s"][-1] / 1e7)
    # The validations before the speed is measured tell no share. The last one tells that of the steps so far.
    validations = re.findall(r"validation loss [\d.]+, ([\d,]+) tokens/s(?:, ([\d,]+)% MFU)?", said[0])
    speed, share = (float(figure.replace(",", "")) for figure in validations[-1])
    assert share == pytest.approx(100 * speed * flops / trainer.tokens() / 1e7, abs=0.6, rel=1e-3)
