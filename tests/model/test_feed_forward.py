"""The feed-forward layer against its formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lm.model.feed_forward import FeedForward
from tests.model.configs import redraw, small_config

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "relu2": lambda x: torch.where(x > 0, x * x, 0.0),
}


def random_layer(kind: str, bias: bool) -> tuple[FeedForward, Tensor]:
    layer = FeedForward(small_config(feed_forward=kind, bias=bias)).double()
    redraw(layer, seed=1)
    return layer, torch.randn(5, 16, generator=torch.Generator().manual_seed(2)).double()


def linear(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    return x @ layer.weight.T + (0.0 if layer.bias is None else layer.bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_a_plain_layer_is_down_of_the_activation_of_up(kind: str, bias: bool) -> None:
    layer, x = random_layer(kind, bias)
    assert layer.gate is None
    expected = linear(layer.down, ACTIVATIONS[kind](linear(layer.up, x)))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)  # sums of 24 numbers of size 1 in float64


@pytest.mark.parametrize("bias", [True, False])
def test_swiglu_is_down_of_silu_of_gate_times_up(bias: bool) -> None:
    layer, x = random_layer("swiglu", bias)
    assert layer.gate is not None
    expected = linear(layer.down, ACTIVATIONS["silu"](linear(layer.gate, x)) * linear(layer.up, x))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)  # as above
