"""Attention weights, attention to another sequence and given positions, against the twin in PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.config.model import ModelConfig
from lm.model.attention import Attention as TorchAttention
from lm.model.norm import rms_norm as torch_rms_norm
from lm.reference.activations import silu, softmax
from lm.reference.attention import Attention
from lm.reference.linear import linear
from lm.reference.norm import rms_norm
from lm.reference.positions import Positions
from tests.model.configs import configs, random_ids, random_model, redraw, small_config
from tests.reference.oracle import assert_close, assert_same_as_torch, parameters_of, random_array
from tests.reference.test_transformer import gradients_of
from tests.small import numpy_twin


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_kv_heads": 2, "bias": True, "qk_norm": True},
        {"positions": "alibi", "n_kv_heads": 1},
        {"positions": "none", "window": 2},
    ],
)
def test_the_layer_has_outputs_and_gradients_of_its_twin(changes: dict[str, Any], memory: bool) -> None:
    config = small_config(**changes)
    twin = TorchAttention(config).double().eval()
    redraw(twin, seed=1)
    weights = {f"a.{name}": p.detach().numpy() for name, p in twin.named_parameters()}
    parameters = parameters_of(weights)
    layer = Attention(config, parameters, "a", 0, Positions(config, np.dtype(np.float64)))
    inputs = [random_array(2, 5, 16), *([random_array(2, 7, 16, seed=1)] if memory else [])]

    def function(x: torch.Tensor, *others: torch.Tensor, **parameters: torch.Tensor) -> torch.Tensor:
        named = {name: parameters[f"a.{name}".replace(".", "_")] for name, _ in twin.named_parameters()}
        y: torch.Tensor = torch.func.functional_call(twin, named, (x, *others))
        return y

    assert_same_as_torch(_Both(layer), inputs, parameters, function)


class _Both:
    """The layer as one that takes arrays alone, and gives as many gradients."""

    def __init__(self, layer: Attention) -> None:
        self.layer = layer

    def forward(self, x: Any, memory: Any = None) -> Any:
        return self.layer.forward(x, None, None, memory)

    def backward(self, dy: Any) -> Any:
        dx, dmemory = self.layer.backward(dy)
        return dx if dmemory is None else (dx, dmemory)


@settings(max_examples=60)
@given(configs(), st.booleans(), st.integers(0, 2**16), st.data())
def test_weights_are_those_of_the_twin(config: ModelConfig, given: bool, seed: int, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, config.context_length))
    model, ids = random_model(config, seed, torch.float64), random_ids(2, seq, seed)
    positions = torch.randint(config.context_length, ids.shape, generator=torch.Generator().manual_seed(seed))
    chosen = (ids, positions) if given else (ids,)
    for actual, expected in zip(
        numpy_twin(model).attention_weights(*(x.numpy() for x in chosen)), model.attention_weights(*chosen), strict=True
    ):
        np.testing.assert_allclose(actual, expected.detach(), rtol=0, atol=2e-6)  # norms and ALiBi are float32 there


@settings(max_examples=100)
@given(configs(), st.integers(0, 2**16), st.data())
def test_given_positions_have_the_logits_and_gradients_of_the_twin(
    config: ModelConfig, seed: int, data: st.DataObject
) -> None:
    seq = data.draw(st.integers(1, config.context_length))
    model, ids = random_model(config, seed, torch.float64), random_ids(3, seq, seed)
    positions = torch.randint(config.context_length, ids.shape, generator=torch.Generator().manual_seed(seed))
    logits = model(ids, positions=positions)
    logits.square().sum().backward()
    twin = numpy_twin(model)
    actual = twin.forward(ids.numpy(), positions=positions.numpy())
    assert_close(actual, logits, "logits")
    twin.backward(2 * actual)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    floor = 1e-4 * max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients_of(twin).items():
        assert_close(gradient, gradients[name], name, floor)


@pytest.mark.parametrize("places", [[0, 12], [-1, 0]])
def test_positions_outside_the_context_are_a_clear_error(places: list[int]) -> None:
    model = numpy_twin(random_model(small_config()))
    with pytest.raises(ValueError, match=rf"^positions: must be from 0 to 11, got {places[0]} to {places[1]}$"):
        model.forward(np.array([[1, 2]]), positions=np.array([places]))


def test_the_functions_alone_are_those_of_pytorch() -> None:
    x, weight, bias, scale = random_array(2, 5, 8), random_array(3, 8, seed=1), random_array(3), random_array(8)
    tensor, *rest = (torch.from_numpy(array) for array in (x, weight, bias, scale))
    assert_close(linear(x, weight, bias), F.linear(tensor, rest[0], rest[1]))
    assert_close(linear(x, weight), F.linear(tensor, rest[0]))
    assert_close(silu(30 * x), F.silu(30 * tensor))
    assert_close(softmax(1e3 * x), (1e3 * tensor).softmax(-1))
    assert_close(softmax(x, axis=1), tensor.softmax(1))
    assert_close(rms_norm(x, scale, 1e-5), F.rms_norm(tensor, (8,), rest[2], eps=1e-5))
    assert_close(torch_rms_norm(tensor, rest[2], eps=1e-2).numpy(), F.rms_norm(tensor, (8,), rest[2], eps=1e-2))
