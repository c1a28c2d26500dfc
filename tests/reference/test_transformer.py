"""The whole model in NumPy against its twin in PyTorch and against finite differences, over every switch."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.formats.model_file import ModelCard, save_model
from lm.model.load import load_model as load_torch_model
from lm.reference.initial import initial_weights
from lm.reference.load import load_model
from lm.reference.loss import CrossEntropy
from lm.reference.transformer import Transformer
from lm.training.loss import cross_entropy
from tests.model.configs import VOCAB_SIZE, configs, random_ids, random_model, small_config
from tests.reference.oracle import assert_close, assert_slope
from tests.small import numpy_twin

TEMPORARY = tempfile.TemporaryDirectory()


def ids_of(batch: int, seq: int, seed: int = 0) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = random_ids(batch, seq, seed).numpy()
    return ids


def gradients_of(model: Transformer) -> dict[str, Any]:
    gradients = {name: p.grad for name, p in model.parameters.items()}
    assert all(gradient is not None for gradient in gradients.values())
    return gradients


@settings(max_examples=100)
@given(configs(), st.integers(1, 3), st.integers(0, 2**16), st.data())
def test_logits_and_every_gradient_equal_those_of_autograd(
    config: ModelConfig, batch: int, seed: int, data: st.DataObject
) -> None:
    seq = data.draw(st.integers(1, config.context_length))
    model = random_model(config, seed, torch.float64)
    reference = numpy_twin(model)
    ids, targets = random_ids(batch, seq, seed), random_ids(batch, seq, seed + 1)
    documents = (random_ids(batch, seq, seed + 2) % 3 == 0).cumsum(1) if data.draw(st.booleans()) else None

    logits = model.logits(model.hidden(ids, documents=documents))
    loss = cross_entropy(logits, targets).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    actual = reference.forward(ids.numpy(), documents=None if documents is None else documents.numpy())
    assert_close(actual, logits, "logits")
    entropy = CrossEntropy()
    losses = entropy.forward(actual, targets.numpy())
    assert float(losses.mean()) == pytest.approx(float(loss.detach()), rel=1e-12)
    reference.backward(entropy.backward(np.full_like(losses, 1 / losses.size)))

    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    # A gradient that is 0, as that of a key's norm where each query sees but itself, leaves rounding alone.
    floor = 1e-4 * max(float(gradient.abs().max()) for gradient in gradients.values())
    assert gradients.keys() == gradients_of(reference).keys()
    for name, gradient in gradients_of(reference).items():
        assert_close(gradient, gradients[name], name, floor)


@settings(max_examples=60)
@given(configs(), st.integers(0, 2**16))
def test_gradients_are_the_slopes_of_the_loss_with_dropout_too(config: ModelConfig, seed: int) -> None:
    # A kink of max(x, 0) within the step would spoil the difference; its square has none.
    model = numpy_twin(random_model(config, seed, torch.float64))
    ids, targets = ids_of(2, config.context_length, seed), ids_of(2, config.context_length, seed + 1)
    entropy = CrossEntropy()

    def loss() -> float:
        generator = np.random.Generator(np.random.Philox(seed))  # the same numbers drop each time
        return float(entropy.forward(model.forward(ids, generator), targets).mean())

    loss()
    model.backward(entropy.backward(np.full(ids.shape, 1 / ids.size)))
    gradients = gradients_of(model)
    arrays = [model.parameters[name].value for name in gradients]
    assert_slope(loss, arrays, list(gradients.values()), seed)


@settings(max_examples=40)
@given(configs(), st.integers(0, 2**16))
def test_float32_stays_float32_and_rounds_as_pytorch_does(config: ModelConfig, seed: int) -> None:
    model = random_model(config, seed)
    reference = numpy_twin(model)
    ids = random_ids(2, config.context_length, seed)
    logits = model(ids)
    logits.square().sum().backward()
    actual = reference.forward(ids.numpy())
    reference.backward(2 * actual)
    assert actual.dtype == np.float32
    # Some hundred roundings of 6e-8 each, on either side.
    np.testing.assert_allclose(actual, logits.detach(), rtol=0, atol=1e-5 * float(logits.detach().abs().max()))
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    size = max(float(np.abs(gradient).max()) for gradient in gradients.values())
    for name, gradient in gradients_of(reference).items():
        assert gradient.dtype == np.float32, name
        np.testing.assert_allclose(gradient, gradients[name], rtol=0, atol=1e-4 * size, err_msg=name)


@settings(max_examples=40)
@given(configs(), st.data())
def test_a_future_token_never_changes_a_past_logit(config: ModelConfig, data: st.DataObject) -> None:
    model = numpy_twin(random_model(config, dtype=torch.float64))
    place = data.draw(st.integers(0, config.context_length - 1))
    ids = ids_of(1, config.context_length)
    before = model.forward(ids).copy()
    ids[0, place] = (ids[0, place] + 1) % VOCAB_SIZE
    after = model.forward(ids)
    assert np.array_equal(before[:, :place], after[:, :place])
    assert not np.array_equal(before[:, place], after[:, place])


def test_gradients_of_two_batches_add_up() -> None:
    model = numpy_twin(random_model(small_config(), dtype=torch.float64))
    batches = [ids_of(2, 12, seed) for seed in (0, 1)]
    total: dict[str, Any] = {}
    for ids in batches:
        for p in model.parameters.values():
            p.grad = None
        model.backward(model.forward(ids))
        total = {name: total.get(name, 0) + gradient for name, gradient in gradients_of(model).items()}
    for p in model.parameters.values():
        p.grad = None
    for ids in batches:
        model.backward(model.forward(ids))
    for name, gradient in gradients_of(model).items():
        assert_close(gradient, total[name], name)


@settings(max_examples=30)
@given(configs(), st.sampled_from(["torch", "numpy"]))
def test_a_model_file_of_one_library_opens_in_the_other(config: ModelConfig, writer: str) -> None:
    folder = Path(TEMPORARY.name)
    path = folder / "model.safetensors"
    weights = initial_weights(config, VOCAB_SIZE, seed=3)
    if writer == "torch":
        torch_weights = random_model(config, seed=3).state_dict()
        weights = {name: tensor.numpy() for name, tensor in torch_weights.items()}
    card = ModelCard(config, VOCAB_SIZE, 0, "ab" * 32, [])
    save_model(path, weights, card)
    one, its_card = load_model(path)
    other, the_other_card = load_torch_model(path)
    assert its_card == the_other_card == card
    assert set(one.parameters) == set(other.state_dict())
    ids = random_ids(2, config.context_length)
    expected = other(ids).detach().numpy()
    np.testing.assert_allclose(one.forward(ids.numpy()), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weights_of_another_model_are_a_clear_error() -> None:
    config = small_config()
    weights = dict(initial_weights(config, VOCAB_SIZE, 0))
    with pytest.raises(ValueError, match=r"^final_norm\.weight: missing$"):
        Transformer(config, {name: w for name, w in weights.items() if name != "final_norm.weight"})
    with pytest.raises(ValueError, match=r"^embedding\.weight: missing$"):
        Transformer(config, {})
    with pytest.raises(ValueError, match=r"^head\.weight: is not a parameter of this model$"):
        Transformer(config, weights | {"head.weight": weights["embedding.weight"]})
    with pytest.raises(ValueError, match=r"^embedding\.weight: must have the shape \(37, 16\), got \(37, 8\)$"):
        Transformer(config, weights | {"embedding.weight": weights["embedding.weight"][:, :8]})
    with pytest.raises(ValueError, match=r"^must all be float32, or all float64, got float16, float32$"):
        Transformer(config, weights | {"final_norm.weight": np.ones(16, np.float16)})


def test_a_text_longer_than_the_context_is_refused() -> None:
    with pytest.raises(AssertionError, match="13 positions in a context of 12"):
        numpy_twin(random_model(small_config())).forward(ids_of(1, 13))
