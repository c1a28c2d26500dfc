"""Training in NumPy is training in PyTorch: the same losses and curves, for every switch. What the two backends promise
alike is in test_backend.py and test_trainer.py."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.model import ModelConfig
from lm.formats.tokens import TokenFile
from lm.model.transformer import Transformer as TorchTransformer
from lm.reference.transformer import Transformer
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.numpy_backend import NumpyBackend
from lm.training.source import Windows
from lm.training.torch_backend import TorchBackend
from lm.training.trainer import Trainer
from tests.model.configs import VOCAB_SIZE as N_IDS
from tests.model.configs import configs
from tests.small import model_config, random_documents, train_config, write_tokens

VOCAB_SIZE = 50


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    return write_tokens(tmp_path_factory.mktemp("tokens"), random_documents(60, 100, VOCAB_SIZE), VOCAB_SIZE)


def trainer(tokens: TokenFile, backend: str = "numpy", model: dict[str, Any] | None = None, **changes: Any) -> Trainer:
    config = train_config(**({"backend": backend, "valid_every": 4, "steps": 8} | changes))
    its_model = model_config(**(model or {}))
    built = build_backend(config, its_model, VOCAB_SIZE, seed=5)
    windows = Windows(tokens.ids, its_model.context_length)
    return Trainer(built, windows, windows, config, seed=5)


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "gpt-2": (
        {"norm": "layernorm", "positions": "learned", "feed_forward": "gelu", "bias": True, "tie_embeddings": False},
        {"optimizer": "adam", "weight_decay": 0.0},
    ),
    "the rest": (
        {"positions": "alibi", "n_kv_heads": 1, "window": 5, "qk_norm": True, "feed_forward": "relu2"},
        {"optimizer": "sgd", "learning_rate": 0.03, "nesterov": True, "accumulate": 2},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_hundred_steps_have_the_losses_of_pytorch(tokens: TokenFile, variant: str) -> None:
    model, changes = VARIANTS[variant]
    changes = {"steps": 200, "valid_every": 50, "context_length": 16} | changes
    model = {"context_length": changes.pop("context_length")} | model
    ours, theirs = (trainer(tokens, backend, model, **changes) for backend in ("numpy", "torch"))
    losses, expected = list(ours.run()), list(theirs.run())
    assert losses[0] - losses[-1] > 0.5, "nothing was learned"
    # The aim of the project: 1e-4 all the way. A step's rounding of 1e-7 grows as the two paths part.
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)
    for row, its in zip(ours.step_rows, theirs.step_rows, strict=True):
        assert (row.step, row.tokens, row.learning_rate) == (its.step, its.tokens, its.learning_rate)
        assert row.gradient_norm == pytest.approx(its.gradient_norm, rel=1e-2)
        # Of 64 tokens, the argmax of one or two between near equals may fall either way.
        assert row.accuracy == pytest.approx(its.accuracy, abs=2.5 / 64)
    for valid, its_valid in zip(ours.valid_rows, theirs.valid_rows, strict=True):
        assert (valid.step, valid.tokens) == (its_valid.step, its_valid.tokens)
        assert valid.loss == pytest.approx(its_valid.loss, abs=1e-4)
    assert ours.kept_step == theirs.kept_step
    assert {name: w.shape for name, w in ours.kept_weights.items()} == {
        name: w.shape for name, w in theirs.kept_weights.items()
    }


@settings(max_examples=40)
@given(configs(), st.integers(0, 2**16), st.sampled_from(["adamw", "adam", "sgd"]))
def test_every_combination_of_switches_trains_without_a_warning(config: ModelConfig, seed: int, optimizer: str) -> None:
    backend = build_backend(train_config(backend="numpy", optimizer=optimizer), config, N_IDS, seed)
    assert isinstance(backend, NumpyBackend)
    generator = np.random.Generator(np.random.Philox(seed))
    batch = Batch.of_windows(generator.integers(0, N_IDS, (4, config.context_length + 1)))
    before = backend.measure(batch).loss
    # Without the decorator that silences them, a warning of NumPy is an error.
    gradient, update = (getattr(NumpyBackend, name).__wrapped__ for name in ("gradient", "update"))
    for step in range(4):
        measured, norm = gradient(backend, [batch], (seed, step))
        assert math.isfinite(measured.loss)
        assert norm > 0
        update(backend, 0.01)
    assert before == pytest.approx(math.log(N_IDS), abs=1.0)
    assert backend.measure(batch).loss != before
    assert set(backend.weights()) == set(backend.model.parameters)


def test_in_float64_two_hundred_steps_part_by_a_millionth_even_at_a_rate_that_is_chaotic_in_float32(
    tokens: TokenFile,
) -> None:
    model = model_config(context_length=16)
    config = train_config(steps=200, valid_every=200, learning_rate=0.05)
    in_torch = TorchBackend(TorchTransformer(model, VOCAB_SIZE, seed=5).double(), config, torch.device("cpu"))
    weights = {name: w.numpy().copy() for name, w in in_torch.model.state_dict().items()}
    in_numpy = NumpyBackend(Transformer(model, weights), config)
    windows = Windows(tokens.ids, 16)
    runs = [list(Trainer(backend, windows, windows, config, seed=5).run()) for backend in (in_torch, in_numpy)]
    np.testing.assert_allclose(runs[1], runs[0], rtol=0, atol=1e-6)
    assert runs[0][0] - runs[0][-1] > 0.5
    assert all(p.value.dtype == np.float64 for p in in_numpy.model.parameters.values())
    assert all(w.dtype == np.float32 for w in in_numpy.weights().values())
