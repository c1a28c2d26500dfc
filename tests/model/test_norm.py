"""Normalisation layers against PyTorch's own."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.model.norm import LayerNorm, RMSNorm, build_norm
from tests.model.configs import redraw, small_config

# A mean of up to 65 numbers, a root and two products in float32: a few roundings of 6e-8 of numbers below 10.
TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 3e-6}

inputs = st.builds(
    lambda width, size, seed: size * torch.randn(2, 3, width, generator=torch.Generator().manual_seed(seed)),
    st.integers(1, 65),
    st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=50)
@given(inputs, st.sampled_from([1e-5, 1e-2]))
def test_rmsnorm_equals_pytorch_s(x: torch.Tensor, eps: float) -> None:
    ours, theirs = RMSNorm(x.shape[-1], eps), nn.RMSNorm(x.shape[-1], eps)
    redraw(ours, seed=1)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE)


@settings(max_examples=50)
@given(inputs, st.booleans(), st.sampled_from([1e-5, 1e-2]))
def test_layernorm_equals_pytorch_s(x: torch.Tensor, bias: bool, eps: float) -> None:
    if x.shape[-1] == 1:
        x = torch.zeros_like(x)  # the deviation of a single number is 0, or a rounding that both sides blow up
    ours = LayerNorm(x.shape[-1], bias, eps)
    redraw(ours, seed=1)
    expected = F.layer_norm(x, x.shape[-1:], ours.weight, ours.bias, eps)
    torch.testing.assert_close(ours(x), expected, **TOLERANCE)


@pytest.mark.parametrize("norm", [RMSNorm(16, 1e-5), LayerNorm(16, bias=True, eps=1e-5)])
def test_half_precision_is_normalised_in_float32_and_rounded_once(norm: nn.Module) -> None:
    redraw(norm, seed=1)
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2)).bfloat16()
    y = norm(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, norm(x.float()).bfloat16())


def test_no_norm_passes_its_input_through() -> None:
    x = torch.randn(5, 16)
    assert build_norm(small_config(norm="none"))(x) is x


@pytest.mark.parametrize("bias", [True, False])
def test_only_a_layernorm_has_a_bias_and_only_if_asked(bias: bool) -> None:
    layernorm, rmsnorm = (build_norm(small_config(norm=norm, bias=bias)) for norm in ("layernorm", "rmsnorm"))
    assert {name for name, _ in layernorm.named_parameters()} == ({"weight", "bias"} if bias else {"weight"})
    assert {name for name, _ in rmsnorm.named_parameters()} == {"weight"}
