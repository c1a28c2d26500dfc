"""Small models for tests: one to change, all that can be drawn, and weights that make mistakes visible."""

import math
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from lm.config.model import ModelConfig
from lm.model.transformer import Transformer
from tests.small import model_config

VOCAB_SIZE = 37


def small_config(**changes: Any) -> ModelConfig:
    """A tiny valid model section with some parameters changed."""
    return model_config(**{"context_length": 12, "n_heads": 4} | changes)


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Random combinations of the switches, in small sizes."""
    positions = draw(st.sampled_from(["rope", "learned", "sinusoidal", "alibi", "none"]))
    n_heads = draw(st.integers(1, 4))
    # Odd sizes too, where the positions allow them.
    d_head = draw(st.sampled_from([4, 6] if positions in {"rope", "sinusoidal"} else [4, 5]))
    return small_config(
        context_length=draw(st.integers(2, 12)),
        d_model=n_heads * d_head,
        n_layers=draw(st.integers(1, 3)),
        n_heads=n_heads,
        n_kv_heads=draw(st.sampled_from([None, *(n for n in range(1, n_heads + 1) if n_heads % n == 0)])),
        d_ff=draw(st.sampled_from([None, 16, 21])),
        feed_forward=draw(st.sampled_from(["swiglu", "gelu", "gelu_tanh", "silu", "relu2"])),
        norm=draw(st.sampled_from(["rmsnorm", "layernorm", "none"])),
        norm_eps=draw(st.sampled_from([1e-5, 1e-2])),
        norm_position=draw(st.sampled_from(["pre", "post"])),
        positions=positions,
        rope_theta=draw(st.sampled_from([10.0, 10000.0])),
        window=draw(st.none() | st.integers(1, 13)),
        qk_norm=draw(st.booleans()),
        tie_embeddings=draw(st.booleans()),
        zero_init=draw(st.booleans()),
        look_back_heads=draw(st.sampled_from([None, 0])),
        base_width=draw(st.sampled_from([None, 6, 16])),
        bias=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.5])),
    )


def random_model(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> Transformer:
    """A model in evaluation mode whose every parameter is random and matters.

    Freshly initialised weights are so small that attention is nearly uniform, and norms and biases are ones and zeros:
    a mistake in positions or masks would hide in the rounding.
    """
    model = Transformer(config, VOCAB_SIZE, seed=seed).to(dtype).eval()
    redraw(model, seed)
    return model


@torch.no_grad()
def redraw(module: torch.nn.Module, seed: int) -> None:
    """Draw every parameter anew: matrices that keep the size of their input, norms near 1, biases near 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.ndim >= 2:
            p.copy_(noise / math.sqrt(p.shape[-1]))
        else:
            p.copy_(0.2 * noise + (0.0 if "bias" in name else 1.0))


def random_ids(batch: int, seq: int, seed: int = 0) -> Tensor:
    """Token ids of shape (batch, seq)."""
    return torch.randint(VOCAB_SIZE, (batch, seq), generator=torch.Generator().manual_seed(seed))


def largest(x: Tensor) -> float:
    """The largest magnitude in a tensor: what rounding errors are measured against."""
    return float(x.detach().abs().max())
