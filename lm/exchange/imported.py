"""Models of others in our format: folders of Hugging Face `transformers` with a Llama, a Qwen3 or a GPT-2.

So their weights can be evaluated, asked for text, looked into and trained further. A folder holds config.json, the
weights as safetensors, in one file or several, and tokenizer.json.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from lm.config.model import ModelConfig
from lm.config.special_tokens import END_OF_TEXT
from lm.exchange.rewrites import Model
from lm.formats.parameters import parameter_table
from lm.formats.transformers import GPT2, LLAMA, from_transformers
from lm.system.files import read_json
from lm.tokenizer.chat import CHAT_TEMPLATE
from lm.tokenizer.load import parse_tokenizer
from lm.tokenizer.pretrained import open_pretrained
from lm.tokenizer.tokenizer import Tokenizer

_ACTIVATION = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "relu2": "relu2",
}
# What only training reads, and muP.
_OURS_ALONE = {"zero_init": False, "look_back_heads": 0, "base_width": None, "dropout": 0.0}

Settings = Mapping[str, Any]


def read_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a folder of transformers, for a model with this many tokens.

    The token that ends a text there is called `<|endoftext|>` here, and keeps its id. Ids that only the model has get
    names of their own, so that each id it may draw is one of the tokenizer's.

    Raises:
        ValueError: when there is no tokenizer, no token that ends a text, or the model knows fewer tokens.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        return open_pretrained(str(folder), [END_OF_TEXT], folder)  # GPT-2's two files
    values = read_json(path)
    settings = read_json(folder / "config.json")
    end_id = settings.get("eos_token_id")
    end_id = end_id[0] if isinstance(end_id, list) else end_id
    added = values.get("added_tokens") or []
    end = next((token for token in added if token["id"] == end_id), None)
    if end is None:
        raise ValueError(f"{path}: must have a special token with the id {end_id}, the eos_token_id of config.json")
    name, end["content"], end["special"] = end["content"], END_OF_TEXT, True
    vocab = values["model"]["vocab"]
    if isinstance(vocab, dict) and name in vocab:
        values["model"]["vocab"] = {END_OF_TEXT if token == name else token: id for token, id in vocab.items()}
    n_tokens = max(token["id"] for token in added) + 1
    n_tokens = max(n_tokens, len(vocab))
    if n_tokens > vocab_size:
        raise ValueError(f"{path}: must have at most the {vocab_size} tokens of the model, got {n_tokens}")
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added += [{"id": id, "content": f"<|unused_{id}|>", **options} for id in range(n_tokens, vocab_size)]
    values["post_processor"] = None  # it would add tokens around each text; what begins a text is our own rule
    try:
        return parse_tokenizer(json.dumps(values, indent=2, ensure_ascii=False))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_folder(folder: Path) -> Model:
    """The model in a folder of transformers.

    Raises:
        ValueError: when a file is missing or broken, or when our model cannot compute what the other one computes.
    """
    settings = read_json(folder / "config.json")
    kind = settings.get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"{folder}/config.json: model_type: must be one of {', '.join(_KINDS)}, got {kind!r}")
    try:
        config = _KINDS[kind](settings)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]}: missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{folder}/config.json: {reason}") from None
    theirs = _read_weights(folder)
    weight_map = GPT2 if kind == "gpt2" else LLAMA
    table = parameter_table(config, settings["vocab_size"])
    try:
        weights = from_transformers(theirs, weight_map, table)
    except ValueError as error:
        raise ValueError(f"{folder}: weights do not fit config.json: {error}") from None
    for name, spec in table.items():
        if weights[name].shape != spec.shape:
            raise ValueError(f"{folder}: {name}: must have the shape {spec.shape}, got {weights[name].shape}")
    return Model(config, weights, _talks_as_ours(folder))


def _talks_as_ours(folder: Path) -> bool:
    """Whether it is a chat model with our template, in the file where our export writes it or transformers does."""
    settings, own = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    if own.exists():
        return own.read_text(encoding="utf-8") == CHAT_TEMPLATE
    return settings.exists() and read_json(settings).get("chat_template") == CHAT_TEMPLATE


def _read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """All weights as float32, without the tables that some old files hold beside them."""
    index = folder / "model.safetensors.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    weights: dict[str, NDArray[np.float32]] = {}
    for name in names:
        try:
            tensors = load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder / name}: not a safetensors file: {error}") from None
        weights |= {key: tensor.to(torch.float32).numpy() for key, tensor in tensors.items()}
    if not any(key.startswith("transformer.") for key in weights) and "wte.weight" in weights:
        # GPT-2's own release names its weights without the part before them.
        weights = {f"transformer.{key}": array for key, array in weights.items()}
    tables = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
    return {key: array for key, array in weights.items() if not key.endswith(tables)}


def _llama(settings: Settings) -> ModelConfig:
    """Llama and Qwen3."""
    d_model, n_heads = settings["hidden_size"], settings["num_attention_heads"]
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta") or settings.get("rope_theta") or 10000.0
    has_window = bool(settings.get("use_sliding_window")) and settings.get("sliding_window") is not None
    layers = set(settings.get("layer_types") or ["full_attention"])
    bias = bool(settings.get("attention_bias", False))
    qk_norm = settings["model_type"] == "qwen3"
    _check("rope_type", kind, "default")
    _check("head_dim", settings.get("head_dim") or d_model // n_heads, d_model // n_heads)
    _check("hidden_act", settings.get("hidden_act", "silu"), "silu")
    _check("mlp_bias", bool(settings.get("mlp_bias", False)), bias)
    _check("layer_types", sorted(layers), ["sliding_attention"] if has_window else ["full_attention"])
    return _config(
        context_length=settings["max_position_embeddings"],
        d_model=d_model,
        n_layers=settings["num_hidden_layers"],
        n_heads=n_heads,
        n_kv_heads=settings.get("num_key_value_heads") or n_heads,
        d_ff=settings["intermediate_size"],
        feed_forward="swiglu",
        norm="rmsnorm",
        norm_eps=settings["rms_norm_eps"],
        positions="rope",
        rope_theta=float(theta),
        window=settings["sliding_window"] if has_window else None,
        qk_norm=qk_norm,
        tie_embeddings=bool(settings.get("tie_word_embeddings", False)),
        bias=bias,
    )


def _gpt2(settings: Settings) -> ModelConfig:
    d_model, n_heads = settings["n_embd"], settings["n_head"]
    activation = settings.get("activation_function", "gelu_new")
    if activation not in _ACTIVATION:
        raise ValueError(f"activation_function: must be one of {', '.join(_ACTIVATION)}, got {activation!r}")
    _check("scale_attn_by_inverse_layer_idx", bool(settings.get("scale_attn_by_inverse_layer_idx", False)), False)
    _check("scale_attn_weights", bool(settings.get("scale_attn_weights", True)), True)
    return _config(
        context_length=settings["n_positions"],
        d_model=d_model,
        n_layers=settings["n_layer"],
        n_heads=n_heads,
        n_kv_heads=None,
        d_ff=settings.get("n_inner") or 4 * d_model,
        feed_forward=_ACTIVATION[activation],
        norm="layernorm",
        norm_eps=settings.get("layer_norm_epsilon", 1e-5),
        positions="learned",
        rope_theta=10000.0,
        window=None,
        qk_norm=False,
        tie_embeddings=bool(settings.get("tie_word_embeddings", True)),
        bias=True,
    )


_KINDS: dict[str, Callable[[Settings], ModelConfig]] = {"llama": _llama, "qwen3": _llama, "gpt2": _gpt2}


def _config(**switches: Any) -> ModelConfig:
    return ModelConfig.parse({"norm_position": "pre", **_OURS_ALONE, **switches})


def _check(name: str, value: Any, wanted: Any) -> None:
    """Raise ValueError for a setting that our model cannot follow."""
    if value != wanted:
        raise ValueError(f"{name}: must be {json.dumps(wanted)}, because our model has nothing else, got {value!r}")
