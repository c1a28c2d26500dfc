"""Everything that runs on a device runs on one that has no float64."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from lm.analysis.evaluation import evaluate
from lm.config.train import TrainConfig
from lm.formats.model_file import Weights
from lm.generation.events import collect
from lm.generation.generate import generate
from lm.generation.sampling import Sampling
from lm.model.transformer import Transformer
from lm.training.batch import Batch
from lm.training.torch_backend import TorchBackend
from tests.float32_device import DEVICE, Float32Device
from tests.small import model_config, random_model, train_config

POSITIONS = ["rope", "learned", "sinusoidal", "alibi", "none"]


@pytest.fixture
def device() -> Iterator[torch.device]:
    with Float32Device():  # type: ignore[no-untyped-call]
        yield DEVICE


def test_the_device_computes_and_refuses_float64(device: torch.device) -> None:
    x = torch.ones(2, 3).to(device)
    assert x.device.type == "meta"
    assert (x @ x.T).cpu().tolist() == [[3, 3], [3, 3]]
    assert float(x.sum()) == 6
    for mistake in (
        lambda: x.double(),
        lambda: torch.zeros(2, dtype=torch.float64, device=device),
        lambda: torch.zeros(2, dtype=torch.float64).to(device),
        lambda: x + torch.ones(2, 3),
    ):
        with pytest.raises(TypeError):
            mistake()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("positions", POSITIONS)
def test_evaluation(positions: str, device: torch.device) -> None:
    generator = np.random.Generator(np.random.Philox(key=0))
    documents = [generator.integers(0, 23, length).astype(np.uint16) for length in (1, 30, 7, 8, 9)]
    model = random_model(23, positions=positions)
    expected = evaluate(model, documents, 3, 4)
    measured = evaluate(model.to(device), documents, 3, 4)
    # Another attention kernel of PyTorch rounds otherwise. Logits here are of size 100, rounded by 1e-5 each.
    np.testing.assert_allclose(measured.loss, expected.loss, rtol=1e-4, atol=1e-3)
    assert measured.n_correct.tolist() == expected.n_correct.tolist()


@pytest.mark.parametrize(
    "sampling",
    [
        *(Sampling(0), Sampling(0.8), Sampling(0.8, top_k=5), Sampling(0.8, top_p=0.9)),
        *(Sampling(0.8, top_k=9, top_p=0.9), Sampling(0.8, min_p=0.1), Sampling(0.8, typical_p=0.8)),
        Sampling(0.8, repetition_penalty=1.3, frequency_penalty=0.5, presence_penalty=0.5, no_repeat_ngram=2),
    ],
    ids=str,
)
def test_generation(sampling: Sampling, device: torch.device) -> None:
    def texts(model: Transformer) -> list[list[int]]:
        return collect(generate(model, [[3], [3, 5, 2]], sampling, max_new_tokens=12, end_id=3, seed=1), 2)

    model = random_model(23)
    expected = texts(model)
    assert texts(model.to(device)) == expected


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adam", "sgd"])
def test_training(optimizer: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_options: nullcontext())  # it refuses the name `meta`
    config = train_config(optimizer=optimizer, batch_size=2, accumulate=2)
    expected, measured = (trained(config, each) for each in (torch.device("cpu"), device))
    for name, weight in expected.items():
        # Three steps of AdamW at a rate of 0.01 amplify roundings where a gradient is near 0.
        np.testing.assert_allclose(measured[name], weight, rtol=0, atol=2e-3, err_msg=name)


def trained(config: TrainConfig, device: torch.device) -> Weights:
    """Weights after three steps, a validation, and a saved state loaded again."""
    backend = TorchBackend(Transformer(model_config(), 23), config, device)
    ids = torch.arange(36).reshape(4, 9).numpy() % 23
    batch = Batch(ids[:, :-1], ids[:, 1:], np.ones((4, 8), np.float32))
    for step in range(3):
        backend.gradient(batch.split(2), (1, step))
        backend.update(0.01)
    backend.measure(batch)
    backend.load_state(backend.state())
    return backend.weights()
