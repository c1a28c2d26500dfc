"""Which model of Hugging Face `transformers` computes what ours computes: as data, one `Home` for each architecture.

Read in the sources of transformers 5. A home says what it can express. If a configuration of ours lies outside, some
rewrites may bring it in (`lm.exchange.rewrites`). The first home that fits is taken.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lm.config.model import ModelConfig
from lm.exchange.rewrites import (
    Model,
    Rewrite,
    add_biases,
    drop_idle_window,
    fold_output_scale,
    learn_positions,
    repeat_heads,
)
from lm.formats.model_file import Weights
from lm.formats.transformers import APERTUS, GPT2, LLAMA, MPT, OPT, STARCODER2, WeightMap

ANY = "any"
_UNGATED = ("gelu", "gelu_tanh", "silu", "relu2")
_ACTIVATION = {"swiglu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "silu": "silu", "relu2": "relu2"}

Switches = Mapping[str, Any]


def needs(
    *,
    norm: str,
    positions: Any,
    feed_forward: Any,
    norm_eps: Any = ANY,
    norm_position: str = "pre",
    qk_norm: Any = False,
    window: Any = None,
    bias: Any = ANY,
    base_width: Any = None,
) -> Switches:
    """What each switch of the function must be: a value, a tuple of values, or `ANY`. Sizes may be any."""
    return dict(locals())


def unmet(config: ModelConfig, switches: Switches) -> list[str]:
    """Each switch whose value is not among those that are needed, with what it must be."""
    wrong = []
    for name, wanted in switches.items():
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        if wanted != ANY and getattr(config, name) not in values:
            wrong.append(f"{name}: {' or '.join(str(value) for value in values)}")
    return wrong


class NoHomeError(ValueError):
    """No architecture of the other program has all switches of a model. Says which is nearest and what it lacks."""


@dataclass(frozen=True)
class Home:
    """An architecture of transformers.

    Attributes:
        architecture: the name of its class.
        model_type: its name in config.json.
        needs: the values that our switches must have after the rewrites.
        weight_map: the names of the weights there.
        settings: our sizes and switches in its config.json.
        rewrites: what turns other switches into those that it has.
        also: what else must hold, as a line for the user; None if it holds.
        adapt: changes their arrays, by their names, before they are written.
    """

    architecture: str
    model_type: str
    needs: Switches
    weight_map: WeightMap
    settings: Callable[[ModelConfig], dict[str, Any]]
    rewrites: tuple[Rewrite, ...] = (drop_idle_window, fold_output_scale)
    also: Callable[[ModelConfig], str | None] = lambda config: None
    adapt: Callable[[Weights], Weights] = lambda weights: weights

    def rewritten(self, model: Model) -> Model:
        """The model after all rewrites."""
        for rewrite in self.rewrites:
            model = rewrite(model)
        return model

    def unmet(self, config: ModelConfig) -> list[str]:
        """What a rewritten configuration lacks to fit: one entry for each switch."""
        reason = self.also(config)
        return unmet(config, self.needs) + ([reason] if reason else [])


def find_home(model: Model, homes: Iterable[Home]) -> tuple[Home, Model]:
    """The first home that fits, and the model as it is written there.

    Raises:
        NoHomeError: when none fits.
    """
    nearest: tuple[list[str], Home] | None = None
    for home in homes:
        rewritten = home.rewritten(model)
        wrong = home.unmet(rewritten.config)
        if not wrong:
            return home, rewritten
        if nearest is None or len(wrong) < len(nearest[0]):
            nearest = wrong, home
    assert nearest is not None
    wrong, home = nearest
    raise NoHomeError(
        f"model: no architecture of transformers computes this combination of switches; the nearest, "
        f"{home.architecture}, needs {'; '.join(wrong)}"
    )


def _llama(config: ModelConfig) -> dict[str, Any]:
    """What Llama and its descendants share."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    return {
        "hidden_size": config.d_model,
        "intermediate_size": config.sizes.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.sizes.n_kv_heads,
        "head_dim": config.d_head,
        "hidden_act": _ACTIVATION[config.feed_forward],
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "attention_dropout": 0.0,
        # Releases of transformers before 5, and vLLM, read the first; later ones read the second.
        "rope_theta": config.rope_theta,
        "rope_parameters": rope,
    }


def _windowed(config: ModelConfig) -> dict[str, Any]:
    """Qwen3 and SmolLM3 say for each layer whether it has a window."""
    kind = "full_attention" if config.window is None else "sliding_attention"
    return {
        "use_sliding_window": config.window is not None,
        "sliding_window": config.window,
        "layer_types": [kind] * config.n_layers,
        "max_window_layers": 0,
    }


def _smollm3(config: ModelConfig) -> dict[str, Any]:
    rotates = int(config.positions == "rope")  # the field has its name from its first use, with a 1 where RoPE is kept
    return _llama(config) | _windowed(config) | {"no_rope_layers": [rotates] * config.n_layers}


def _layernorm_rope(config: ModelConfig) -> dict[str, Any]:
    """Nemotron and Starcoder2."""
    settings = _llama(config) | {"norm_eps": config.norm_eps, "norm_epsilon": config.norm_eps, "use_bias": config.bias}
    settings |= {"residual_dropout": 0.0, "embedding_dropout": 0.0, "sliding_window": config.window}
    settings["partial_rotary_factor"] = settings["rope_parameters"]["partial_rotary_factor"] = 1.0
    return settings


def _gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.sizes.d_ff,
        "activation_function": _ACTIVATION[config.feed_forward],
        "layer_norm_epsilon": config.norm_eps,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }


def _mpt(config: ModelConfig) -> dict[str, Any]:
    return {
        "d_model": config.d_model,
        "n_heads": config.n_heads,
        "n_layers": config.n_layers,
        "expansion_ratio": 4,
        "max_seq_len": config.context_length,
        "layer_norm_epsilon": config.norm_eps,
        "no_bias": True,
        "learned_pos_emb": False,
        "attn_config": {"attn_type": "multihead_attention", "alibi": True, "alibi_bias_max": 8, "attn_impl": "torch"},
        "resid_pdrop": 0.0,
        "emb_pdrop": 0.0,
    }


def _mpt_sizes(config: ModelConfig) -> str | None:
    if config.sizes.d_ff != 4 * config.d_model:
        return f"d_ff: {4 * config.d_model}"
    if config.n_heads & (config.n_heads - 1):
        return "n_heads: a power of two, because others have other slopes there"
    return None


def _opt(config: ModelConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.d_model,
        "word_embed_proj_dim": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "ffn_dim": config.sizes.d_ff,
        "max_position_embeddings": config.context_length,
        "activation_function": _ACTIVATION[config.feed_forward],
        "do_layer_norm_before": False,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        **dict.fromkeys(("dropout", "attention_dropout", "layerdrop"), 0.0),
    }


def _opt_positions(weights: Weights) -> Weights:
    """OPT counts positions from 2."""
    name = "model.decoder.embed_positions.weight"
    return {**weights, name: np.pad(weights[name], ((2, 0), (0, 0)))}


def _nemotron_norms(weights: Weights) -> Weights:
    """Nemotron adds 1 to the weights of its norms."""
    return {name: array - 1 if name.endswith("norm.weight") else array for name, array in weights.items()}


_LEARNED = (drop_idle_window, learn_positions, fold_output_scale, add_biases, repeat_heads)

HOMES = [
    Home(
        "LlamaForCausalLM",
        "llama",
        needs(norm="rmsnorm", positions="rope", feed_forward="swiglu"),
        LLAMA,
        _llama,
    ),
    Home(
        "Qwen3ForCausalLM",
        "qwen3",
        needs(norm="rmsnorm", positions="rope", feed_forward="swiglu", qk_norm=True, window=ANY, bias=False),
        LLAMA,
        lambda config: _llama(config) | _windowed(config),
    ),
    Home(
        "MistralForCausalLM",
        "mistral",
        needs(norm="rmsnorm", positions="rope", feed_forward="swiglu", window=ANY, bias=False),
        LLAMA,
        lambda config: _llama(config) | {"sliding_window": config.window},
    ),
    Home(
        "SmolLM3ForCausalLM",
        "smollm3",
        needs(norm="rmsnorm", positions=("rope", "none"), feed_forward="swiglu", window=ANY),
        LLAMA,
        _smollm3,
    ),
    Home(
        "ArceeForCausalLM",
        "arcee",
        needs(norm="rmsnorm", positions="rope", feed_forward=_UNGATED),
        LLAMA,
        _llama,
    ),
    Home(
        "ApertusForCausalLM",
        "apertus",
        needs(norm="rmsnorm", positions="rope", feed_forward=_UNGATED, qk_norm=True, bias=False),
        APERTUS,
        _llama,
    ),
    Home(
        "GPT2LMHeadModel",
        "gpt2",
        needs(norm="layernorm", positions="learned", feed_forward=_UNGATED, bias=True),
        GPT2,
        _gpt2,
        _LEARNED,
    ),
    # Starcoder2 computes the same as Nemotron, but most programs that read it know it with GELU alone.
    Home(
        "NemotronForCausalLM",
        "nemotron",
        needs(norm="layernorm", positions="rope", feed_forward="relu2", bias=True),
        LLAMA,
        _layernorm_rope,
        (drop_idle_window, fold_output_scale, add_biases),
        adapt=_nemotron_norms,
    ),
    Home(
        "Starcoder2ForCausalLM",
        "starcoder2",
        needs(norm="layernorm", positions="rope", feed_forward=_UNGATED, window=ANY, bias=True),
        STARCODER2,
        _layernorm_rope,
        (drop_idle_window, fold_output_scale, add_biases),
    ),
    Home(
        "MptForCausalLM",
        "mpt",
        needs(norm="layernorm", positions="alibi", feed_forward="gelu", bias=False),
        MPT,
        _mpt,
        (drop_idle_window, fold_output_scale, repeat_heads),
        also=_mpt_sizes,
    ),
    Home(
        "OPTForCausalLM",
        "opt",
        needs(
            norm="layernorm",
            norm_eps=1e-5,
            norm_position="post",
            positions="learned",
            feed_forward=_UNGATED,
            bias=True,
        ),
        OPT,
        _opt,
        _LEARNED,
        adapt=_opt_positions,
    ),
]
