"""Any single override of a parameter works from the defaults: every one of the model and of training is tried."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.parameters import parameter_table
from lm.formats.tokens import TokenFile, TokenWriter
from lm.training.build import build_backend
from lm.training.source import Windows, open_source
from lm.training.trainer import Trainer
from tests.project import ROOT

DEFAULTS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
VOCAB_SIZE = 300
# Two steps on short contexts are all it takes to see that a value works. The precision is fp32, because not every CPU
# has instructions for bfloat16.
SHORT_MODEL: dict[str, Any] = {"context_length": 64, "n_layers": 2}
SHORT_TRAIN: dict[str, Any] = {"steps": 2, "valid_sequences": 4, "precision": "fp32"}

MODEL: dict[str, list[Any]] = {
    "context_length": [128, 512],
    "d_model": [64, 256],
    "n_layers": [1, 6],
    "n_heads": [1, 2, 8],
    "n_kv_heads": [1, 2],
    "d_ff": [200],
    "feed_forward": ["gelu", "gelu_tanh", "silu", "relu2"],
    "norm": ["layernorm", "none"],
    "norm_eps": [1e-3],
    "norm_position": ["post"],
    "positions": ["learned", "sinusoidal", "alibi", "none"],
    "rope_theta": [500000.0],
    "window": [32, 1000],
    "qk_norm": [False],
    "tie_embeddings": [False],
    "zero_init": [True],
    "look_back_heads": [0, 2],
    "base_width": [64, 128],
    "bias": [True],
    "dropout": [0.1],
}
TRAIN: dict[str, list[Any]] = {
    "backend": ["numpy"],
    "device": ["cpu"],
    "precision": ["auto", "fp32", "fp16", "bf16"],
    "compile": [False, "auto"],  # True below
    "attention": ["fused", "math"],
    "threads": [1],
    "processes": ["auto"],  # more in tests/stages/test_train_processes.py
    "shard": [True],
    "recompute": [True],
    "steps": [1],
    "tokens": [2048, 100],
    "batch_size": [1, 8],
    "rows": ["windows", "documents"],
    "accumulate": [2, 3],
    "ramp_steps": [],  # below, for it needs an override of accumulate
    "optimizer": ["muon", "adamw", "adam", "sgd"],
    "muon_parts": [False],
    "learning_rate": [1, 1e-5],
    "betas": [[0.8, 0.99]],
    "eps": [1e-6],
    "momentum": [0.0],
    "nesterov": [True],
    "weight_decay": [0.0, 1],
    "clip_norm": [None, 0.1],
    "schedule": ["cosine", "constant", "wsd"],
    "warmup_steps": [0, 2],
    "decay_fraction": [0.0, 1.0],
    "final_learning_rate": [0.1],
    "valid_every": [1],
    "valid_sequences": [1],
    "patience": [1],
    "if_diverged": ["record", "skip"],
    "keep": ["last"],
    "snapshots": [[0, 1]],
}


def cases(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    path = tmp_path_factory.mktemp("tokens") / "ids.bin"
    generator = np.random.Generator(np.random.Philox(0))
    card = path.with_suffix(".json")
    with TokenWriter(path, card, vocab_size=VOCAB_SIZE, end_id=0, tokenizer_sha256="x") as writer:
        for _ in range(50):
            ids = np.append(generator.integers(1, VOCAB_SIZE, 200), 0).astype(np.uint16)
            writer.write(ids, n_documents=1, n_bytes=1000)
    return TokenFile(path, card)


def train(tokens: TokenFile, model: dict[str, Any], training: dict[str, Any]) -> Trainer:
    model_config = ModelConfig.parse(DEFAULTS["model"] | SHORT_MODEL | model)
    config = TrainConfig.parse(DEFAULTS["train"] | SHORT_TRAIN | training)
    backend = build_backend(config, model_config, VOCAB_SIZE, 0)
    rows = open_source(tokens, model_config.context_length, config)
    trainer = Trainer(backend, rows, rows, config, 0)
    losses = list(trainer.run())
    assert np.isfinite(losses).all()
    assert len(losses) == trainer.n_steps
    assert list(trainer.kept_weights) == list(parameter_table(model_config, VOCAB_SIZE))
    return trainer


@pytest.mark.parametrize(("name", "value"), cases(MODEL))
def test_an_override_of_the_model_trains(tokens: TokenFile, name: str, value: Any) -> None:
    assert value != DEFAULTS["model"][name]
    train(tokens, {name: value}, {})


@pytest.mark.parametrize(("name", "value"), cases(TRAIN))
def test_an_override_of_training_trains(tokens: TokenFile, name: str, value: Any) -> None:
    trainer = train(tokens, {}, {name: value})
    assert trainer.step >= 1


@pytest.mark.parametrize("ramp_steps", [1, 2, 100])
def test_a_ramp_of_the_batch_trains(tokens: TokenFile, ramp_steps: int) -> None:
    trainer = train(tokens, {}, {"accumulate": 2, "ramp_steps": ramp_steps})
    assert trainer.tokens() < 2 * DEFAULTS["train"]["batch_size"] * SHORT_MODEL["context_length"]


def test_every_parameter_is_tried() -> None:
    assert set(MODEL) == set(DEFAULTS["model"])
    assert set(TRAIN) == set(DEFAULTS["train"])


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_a_seed_far_up_works(tokens: TokenFile, backend: str) -> None:
    seed = 2**32 - 1
    config = TrainConfig.parse(DEFAULTS["train"] | SHORT_TRAIN | {"backend": backend, "steps": 1})
    model_config = ModelConfig.parse(DEFAULTS["model"] | SHORT_MODEL | {"dropout": 0.1})
    built = build_backend(config, model_config, VOCAB_SIZE, seed)
    windows = Windows(tokens.ids, model_config.context_length)
    list(Trainer(built, windows, windows, config, seed).run())


@pytest.mark.slow
def test_compiled_training_takes_the_same_steps_within_rounding_and_resumes_to_the_bit(tokens: TokenFile) -> None:
    # In a process of its own: the compiler traces with tensors that the run-time check of shapes does not know.
    # Two threads, whose order atomic additions would show.
    card = tokens.path.with_suffix(".json")
    program = f"""
from copy import deepcopy
from pathlib import Path
from ruamel.yaml import YAML
from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.tokens import TokenFile
from lm.training.build import build_backend
from lm.training.source import Windows
from lm.training.trainer import Trainer
windows = Windows(TokenFile(Path({str(tokens.path)!r}), Path({str(card)!r})).ids, 64)
params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
model_config = ModelConfig.parse(params["model"] | dict(n_layers=1, context_length=64))
def trainer(compiled):
    # 64 windows of validation, in batches of 6 and of 4
    changes = dict(steps=4, device="cpu", precision="fp32", compile=compiled, threads=2, valid_every=2)
    config = TrainConfig.parse(params["train"] | changes)
    return Trainer(build_backend(config, model_config, {VOCAB_SIZE}, 0), windows, windows, config, 0)
print(*trainer(False).run())
unbroken = trainer(True)
steps = unbroken.run()
losses = [next(steps), next(steps)]
state = deepcopy(unbroken.state())
print(*losses, *steps)
resumed = trainer(True)
resumed.load_state(state)
list(resumed.run())
same_weights = all((w == resumed.backend.weights()[name]).all() for name, w in unbroken.backend.weights().items())
print(same_weights and len(resumed.valid_rows) == 2 and resumed.valid_rows == unbroken.valid_rows)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    *lines, same = result.stdout.splitlines()
    eager, compiled = ([float(loss) for loss in line.split()] for line in lines)
    # Four steps of float32 in another order of sums: far below this, and far below what a wrong step would change.
    assert compiled == pytest.approx(eager, rel=1e-4)
    assert same == "True"
