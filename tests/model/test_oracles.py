"""The model against other people's: the same weights give the same logits and the same gradients.

Tolerances: both sides compute in float32, whose roundings of 6e-8 add up over some hundred operations on numbers of
size 1; differences are measured against the largest number of a tensor. A wrong formula shows at 1e-2 and above.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from lm.config.model import ModelConfig
from lm.formats.parameters import Table
from lm.formats.transformers import GPT2, LLAMA, WeightMap, from_transformers, to_transformers
from lm.model.transformer import Block, Transformer
from tests.model.configs import VOCAB_SIZE, largest, random_ids, redraw, small_config
from tests.model.test_feed_forward import ACTIVATIONS

LOGITS_TOLERANCE = 5e-6
GRADIENT_TOLERANCE = 2e-5


def translated(theirs: Mapping[str, Tensor], weight_map: WeightMap, table: Table) -> dict[str, Tensor]:
    """Their tensors under our names; and under theirs again, they are the same."""
    arrays = {name: tensor.numpy() for name, tensor in theirs.items()}
    ours = from_transformers(arrays, weight_map, table)
    for name, array in to_transformers(ours, weight_map, table).items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    return {name: torch.from_numpy(array) for name, array in ours.items()}


def assert_same_logits_and_gradients(config: ModelConfig, theirs: nn.Module, weight_map: WeightMap) -> None:
    """Redraw the other model, take its weights, and compare logits and the gradients of a random function of them."""
    redraw(theirs, seed=1)
    ours = Transformer(config, VOCAB_SIZE)
    ours.load_state_dict(translated(theirs.state_dict(), weight_map, ours.table))
    ids = random_ids(3, config.context_length)

    expected, actual = theirs.eval()(ids).logits, ours.eval()(ids)
    torch.testing.assert_close(actual, expected, rtol=0, atol=LOGITS_TOLERANCE * largest(expected))

    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (expected * direction).sum().backward()
    (actual * direction).sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    expected_gradients = translated(gradients, weight_map, ours.table)
    actual_gradients = {name: p.grad for name, p in ours.named_parameters()}
    assert actual_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        tolerance = GRADIENT_TOLERANCE * largest(gradient)
        torch.testing.assert_close(actual_gradients[name], gradient, rtol=0, atol=tolerance, msg=name)


def llama_arguments(config: ModelConfig) -> dict[str, Any]:
    """What the configurations of Llama and its descendants share, from ours."""
    return {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": config.d_model,
        "intermediate_size": config.sizes.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.sizes.n_kv_heads,
        "head_dim": config.d_head,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": False,
        # Releases of transformers before 5 read the first, later ones the second.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attn_implementation": "eager",
    }


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("n_kv_heads", [None, 2, 1])
@pytest.mark.parametrize("rope_theta", [10000.0, 100.0])
def test_rmsnorm_rope_and_swiglu_make_a_llama(n_kv_heads: int | None, tie_embeddings: bool, rope_theta: float) -> None:
    config = small_config(n_kv_heads=n_kv_heads, tie_embeddings=tie_embeddings, rope_theta=rope_theta, d_ff=None)
    assert_same_logits_and_gradients(config, LlamaForCausalLM(LlamaConfig(**llama_arguments(config))), LLAMA)


@pytest.mark.parametrize("window", [1, 3, 12, 20])
def test_a_window_makes_a_mistral(window: int) -> None:
    config = small_config(n_kv_heads=2, window=window, tie_embeddings=False)
    theirs = MistralForCausalLM(MistralConfig(**llama_arguments(config), sliding_window=window))
    assert_same_logits_and_gradients(config, theirs, LLAMA)


def test_normalised_queries_and_keys_make_a_qwen3() -> None:
    config = small_config(n_kv_heads=2, qk_norm=True)
    assert_same_logits_and_gradients(config, Qwen3ForCausalLM(Qwen3Config(**llama_arguments(config))), LLAMA)


@pytest.mark.parametrize(
    ("d_ff", "feed_forward", "activation"), [(None, "gelu", "gelu"), (24, "gelu_tanh", "gelu_new")]
)
def test_layernorm_learned_positions_gelu_and_biases_make_a_gpt2(
    d_ff: int | None, feed_forward: str, activation: str
) -> None:
    config = small_config(norm="layernorm", positions="learned", feed_forward=feed_forward, bias=True, d_ff=d_ff)
    arguments: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": d_ff,
        "activation_function": activation,
        "layer_norm_epsilon": 1e-5,
        "attn_implementation": "eager",
    }
    theirs = GPT2LMHeadModel(GPT2Config(**arguments))
    assert_same_logits_and_gradients(config, theirs, GPT2)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("feed_forward", ["gelu", "silu", "relu2"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_block_with_layernorm_is_a_causal_encoder_layer_of_pytorch(
    norm_position: str, feed_forward: str, bias: bool
) -> None:
    config = small_config(
        norm="layernorm", norm_position=norm_position, positions="none", feed_forward=feed_forward, bias=bias
    )
    theirs = nn.TransformerEncoderLayer(
        config.d_model,
        config.n_heads,
        config.sizes.d_ff,
        dropout=0.0,
        activation=ACTIVATIONS[feed_forward],
        batch_first=True,
        norm_first=norm_position == "pre",
        bias=bias,
    )
    redraw(theirs, seed=1)
    names = {
        "attention_norm.": "norm1.",
        "attention.qkv.": "self_attn.in_proj_",
        "attention.out.": "self_attn.out_proj.",
        "feed_forward_norm.": "norm2.",
        "feed_forward.up.": "linear1.",
        "feed_forward.down.": "linear2.",
    }
    weights, kinds = theirs.state_dict(), ("weight", "bias") if bias else ("weight",)
    ours = Block(config)
    ours.load_state_dict({a + kind: weights[b + kind] for a, b in names.items() for kind in kinds})

    x = torch.randn(3, 12, config.d_model, generator=torch.Generator().manual_seed(2))
    expected = theirs(x, src_mask=nn.Transformer.generate_square_subsequent_mask(12), is_causal=True)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=LOGITS_TOLERANCE * largest(expected))
