"""Weight maps to the models of Hugging Face `transformers`: as data, one map for each architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.formats.parameters import Table

Array = NDArray[Any]


@dataclass(frozen=True)
class WeightMap:
    """The names of our parameters in a model of `transformers`; `{layer}` stands for the number of a block.

    Attributes:
        names: their names by our name. If we store several matrices as one, their names are in the order of our rows.
        transposed: our names of the matrices that they store as (inputs, outputs).
    """

    names: Mapping[str, tuple[str, ...]]
    transposed: frozenset[str] = frozenset()


def _with_biases(names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs)
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }


_BLOCK, _LLAMA_BLOCK, _GPT2_BLOCK = "blocks.{layer}", "model.layers.{layer}", "transformer.h.{layer}"
_MPT_BLOCK, _OPT_BLOCK = "transformer.blocks.{layer}", "model.decoder.layers.{layer}"

_LLAMA = {
    "embedding": ("model.embed_tokens",),
    f"{_BLOCK}.attention_norm": (f"{_LLAMA_BLOCK}.input_layernorm",),
    f"{_BLOCK}.attention.qkv": tuple(f"{_LLAMA_BLOCK}.self_attn.{x}_proj" for x in "qkv"),
    f"{_BLOCK}.attention.out": (f"{_LLAMA_BLOCK}.self_attn.o_proj",),
    f"{_BLOCK}.attention.query_norm": (f"{_LLAMA_BLOCK}.self_attn.q_norm",),
    f"{_BLOCK}.attention.key_norm": (f"{_LLAMA_BLOCK}.self_attn.k_norm",),
    f"{_BLOCK}.feed_forward_norm": (f"{_LLAMA_BLOCK}.post_attention_layernorm",),
    f"{_BLOCK}.feed_forward.up": (f"{_LLAMA_BLOCK}.mlp.up_proj",),
    f"{_BLOCK}.feed_forward.gate": (f"{_LLAMA_BLOCK}.mlp.gate_proj",),
    f"{_BLOCK}.feed_forward.down": (f"{_LLAMA_BLOCK}.mlp.down_proj",),
    "final_norm": ("model.norm",),
    "head": ("lm_head",),
}

# Llama, and the models that use the same names: Mistral, Arcee, SmolLM3, Nemotron, Qwen3.
LLAMA = WeightMap(_with_biases(_LLAMA))

APERTUS = WeightMap(
    _with_biases(
        _LLAMA
        | {
            f"{_BLOCK}.attention_norm": (f"{_LLAMA_BLOCK}.attention_layernorm",),
            f"{_BLOCK}.feed_forward_norm": (f"{_LLAMA_BLOCK}.feedforward_layernorm",),
        }
    )
)

STARCODER2 = WeightMap(
    _with_biases(
        _LLAMA
        | {
            f"{_BLOCK}.feed_forward.up": (f"{_LLAMA_BLOCK}.mlp.c_fc",),
            f"{_BLOCK}.feed_forward.down": (f"{_LLAMA_BLOCK}.mlp.c_proj",),
        }
    )
)

GPT2 = WeightMap(
    _with_biases(
        {
            "embedding": ("transformer.wte",),
            "position_embedding": ("transformer.wpe",),
            f"{_BLOCK}.attention_norm": (f"{_GPT2_BLOCK}.ln_1",),
            f"{_BLOCK}.attention.qkv": (f"{_GPT2_BLOCK}.attn.c_attn",),
            f"{_BLOCK}.attention.out": (f"{_GPT2_BLOCK}.attn.c_proj",),
            f"{_BLOCK}.feed_forward_norm": (f"{_GPT2_BLOCK}.ln_2",),
            f"{_BLOCK}.feed_forward.up": (f"{_GPT2_BLOCK}.mlp.c_fc",),
            f"{_BLOCK}.feed_forward.down": (f"{_GPT2_BLOCK}.mlp.c_proj",),
            "final_norm": ("transformer.ln_f",),
            "head": ("lm_head",),
        }
    ),
    transposed=frozenset(
        f"{_BLOCK}.{name}.weight" for name in ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
    ),
)

MPT = WeightMap(
    _with_biases(
        {
            "embedding": ("transformer.wte",),
            f"{_BLOCK}.attention_norm": (f"{_MPT_BLOCK}.norm_1",),
            f"{_BLOCK}.attention.qkv": (f"{_MPT_BLOCK}.attn.Wqkv",),
            f"{_BLOCK}.attention.out": (f"{_MPT_BLOCK}.attn.out_proj",),
            f"{_BLOCK}.feed_forward_norm": (f"{_MPT_BLOCK}.norm_2",),
            f"{_BLOCK}.feed_forward.up": (f"{_MPT_BLOCK}.ffn.up_proj",),
            f"{_BLOCK}.feed_forward.down": (f"{_MPT_BLOCK}.ffn.down_proj",),
            "final_norm": ("transformer.norm_f",),
            "head": ("lm_head",),
        }
    )
)

OPT = WeightMap(
    _with_biases(
        {
            "embedding": ("model.decoder.embed_tokens",),
            "position_embedding": ("model.decoder.embed_positions",),
            f"{_BLOCK}.attention_norm": (f"{_OPT_BLOCK}.self_attn_layer_norm",),
            f"{_BLOCK}.attention.qkv": tuple(f"{_OPT_BLOCK}.self_attn.{x}_proj" for x in "qkv"),
            f"{_BLOCK}.attention.out": (f"{_OPT_BLOCK}.self_attn.out_proj",),
            f"{_BLOCK}.feed_forward_norm": (f"{_OPT_BLOCK}.final_layer_norm",),
            f"{_BLOCK}.feed_forward.up": (f"{_OPT_BLOCK}.fc1",),
            f"{_BLOCK}.feed_forward.down": (f"{_OPT_BLOCK}.fc2",),
            "head": ("lm_head",),
        }
    )
)


def from_transformers(theirs: Mapping[str, Array], weight_map: WeightMap, table: Table) -> dict[str, Array]:
    """Our arrays by our names, one for each parameter of the table, from their arrays.

    Raises:
        ValueError: when an array is missing, or when one is left over, because the model would then be another one.
    """
    ours: dict[str, Array] = {}
    used: set[str] = set()
    for name in table:
        pattern, layer = _pattern(name)
        names = [each.format(layer=layer) for each in _names_of(pattern, name, weight_map)]
        if absent := [each for each in names if each not in theirs]:
            raise ValueError(f"{absent[0]}: missing, but {name} needs it")
        array = np.concatenate([theirs[each] for each in names]) if len(names) > 1 else theirs[names[0]]
        ours[name] = array.T if pattern in weight_map.transposed else array
        used.update(names)
    tied = set() if "head.weight" in table else {"lm_head.weight"}  # a second name of the embedding
    if unknown := sorted(theirs.keys() - used - tied):
        raise ValueError(f"{unknown[0]}: no parameter of this model is made of it")
    return ours


def to_transformers(ours: Mapping[str, Array], weight_map: WeightMap, table: Table) -> dict[str, Array]:
    """Their arrays by their names, from our arrays.

    Raises:
        ValueError: when the map has no name for one of our arrays.
    """
    theirs: dict[str, Array] = {}
    for name, array in ours.items():
        pattern, layer = _pattern(name)
        names = [each.format(layer=layer) for each in _names_of(pattern, name, weight_map)]
        whole = array.T if pattern in weight_map.transposed else array
        n_rows = list(table[name].parts.values()) if len(names) > 1 else [len(whole)]
        theirs |= zip(names, np.split(whole, np.cumsum(n_rows)[:-1]), strict=True)
    return theirs


def _pattern(name: str) -> tuple[str, str]:
    """Our name with `{layer}` instead of the number of the block, and that number."""
    parts = name.split(".")
    layer = next((part for part in parts if part.isdecimal()), "")
    return ".".join("{layer}" if part.isdecimal() else part for part in parts), layer


def _names_of(pattern: str, name: str, weight_map: WeightMap) -> tuple[str, ...]:
    if pattern not in weight_map.names:
        raise ValueError(f"{name}: is not in the weight map")
    return weight_map.names[pattern]
