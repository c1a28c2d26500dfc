"""GGUF files, which llama.cpp opens, and with it Ollama and LM Studio.

Read in the sources of llama.cpp: names of tensors, keys, and which switches each of its graphs has. Our own code writes
the file, because llama.cpp's converter recognises a tokenizer by a hash of ids, which no freshly trained one has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFWriter, TokenType, quants
from numpy.typing import NDArray

from lm.config.export import Dtype
from lm.config.model import ModelConfig
from lm.config.special_tokens import END_OF_TURN
from lm.exchange.dtypes import GGUF, stored_as
from lm.exchange.homes import NoHomeError, Switches, needs, unmet
from lm.exchange.rewrites import (
    Model,
    Rewrite,
    add_biases,
    fold_output_scale,
    learn_positions,
    repeat_heads,
    shorten_to_window,
    untie,
)
from lm.formats.model_file import Weights
from lm.formats.parameters import parameter_table
from lm.tokenizer import definition
from lm.tokenizer.chat import CHAT_TEMPLATE
from lm.tokenizer.tokenizer import Tokenizer

_NAMES = {
    "embedding": "token_embd",
    "position_embedding": "position_embd",
    "attention_norm": "attn_norm",
    "attention.qkv": "attn_qkv",
    "attention.out": "attn_output",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.up": "ffn_up",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.down": "ffn_down",
    "final_norm": "output_norm",
    "head": "output",
}


@dataclass(frozen=True)
class GgufHome:
    """An architecture of llama.cpp.

    Attributes:
        architecture: its name in the file.
        needs: the values that our switches must have after the rewrites.
        rewrites: what turns other switches into those that it has.
        joined: it holds queries, keys and values as one tensor.
        interleaved: it rotates pairs of neighbours, where we rotate x_i with x_{i + d_head/2}. So the rows of queries
            and keys are written in another order.
        settings: keys that only this one has.
    """

    architecture: str
    needs: Switches
    rewrites: tuple[Rewrite, ...] = (shorten_to_window, fold_output_scale)
    joined: bool = False
    interleaved: bool = False
    settings: dict[str, float] = field(default_factory=dict)

    def rewritten(self, model: Model) -> Model:
        """The model after all rewrites."""
        for rewrite in self.rewrites:
            model = rewrite(model)
        return model


_LAYERNORM = (shorten_to_window, learn_positions, fold_output_scale, add_biases)

# A graph without biases ignores those in the file, so such a home needs bias=False; only llama.cpp itself shows it
# (tests/exchange/test_llama_cpp.py).
# It has no exact GELU in these graphs, only its approximation by tanh. The check of an export shows its error.
_GELU = ("gelu", "gelu_tanh")

GGUF_HOMES = [
    GgufHome("llama", needs(norm="rmsnorm", positions="rope", feed_forward="swiglu"), interleaved=True),
    GgufHome("qwen3", needs(norm="rmsnorm", positions="rope", feed_forward="swiglu", qk_norm=True, bias=False)),
    GgufHome("arcee", needs(norm="rmsnorm", positions="rope", feed_forward="relu2", bias=False), interleaved=True),
    GgufHome("refact", needs(norm="rmsnorm", positions="alibi", feed_forward="swiglu", bias=False)),
    GgufHome(
        "gpt2", needs(norm="layernorm", positions="learned", feed_forward=_GELU, bias=True), _LAYERNORM, joined=True
    ),
    GgufHome("starcoder2", needs(norm="layernorm", positions="rope", feed_forward=_GELU, bias=True), _LAYERNORM),
    GgufHome(
        "nemotron",
        needs(norm="layernorm", positions="rope", feed_forward="relu2", bias=True),
        (*_LAYERNORM, untie),
    ),
    GgufHome(
        "mpt",
        needs(norm="layernorm", positions="alibi", feed_forward=_GELU),
        (shorten_to_window, fold_output_scale, repeat_heads),
        joined=True,
        settings={"attention.max_alibi_bias": 8.0},
    ),
]


def find_gguf_home(model: Model) -> tuple[GgufHome, Model]:
    """The first architecture that fits, and the model as it is written there.

    Raises:
        NoHomeError: when none fits.
    """
    tries = [(home, home.rewritten(model)) for home in GGUF_HOMES]
    wrong = [unmet(rewritten.config, home.needs) + _wrong_slopes(rewritten.config) for home, rewritten in tries]
    best = min(range(len(tries)), key=lambda i: len(wrong[i]))
    if wrong[best]:
        raise NoHomeError(
            "model: no architecture of llama.cpp computes this combination of switches; the nearest, "
            f"{tries[best][0].architecture}, needs {'; '.join(wrong[best])}"
        )
    return tries[best]


def _wrong_slopes(config: ModelConfig) -> list[str]:
    if config.positions == "alibi" and config.n_heads & (config.n_heads - 1):
        return ["n_heads: a power of two, because others have other slopes there"]
    return []


def write_gguf(path: Path, home: GgufHome, model: Model, tokenizer: Tokenizer, dtype: Dtype, name: str) -> None:
    """Write a rewritten model and its tokenizer.

    Raises:
        NoHomeError: when llama.cpp cannot split text as the tokenizer does.
    """
    writer = GGUFWriter(path, home.architecture)
    writer.add_name(name)
    config, kind = model.config, home.architecture
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.sizes.d_ff)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.sizes.n_kv_heads)
    writer.add_vocab_size(model.vocab_size)
    (writer.add_layer_norm_rms_eps if config.norm == "rmsnorm" else writer.add_layer_norm_eps)(config.norm_eps)
    if config.positions == "rope":
        writer.add_rope_dimension_count(config.d_head)
        writer.add_rope_freq_base(config.rope_theta)
    for key, value in home.settings.items():
        writer.add_float32(f"{kind}.{key}", value)
    _add_tokenizer(writer, tokenizer, model.chat)
    for ours, theirs, array in _tensors(model, home):
        stored = GGUF[stored_as(ours, dtype)]
        writer.add_tensor(theirs, quants.quantize(np.ascontiguousarray(array), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_gguf(path: Path, home: GgufHome, config: ModelConfig, vocab_size: int) -> Weights:
    """The weights of a file that `write_gguf` has written, by our names, as float32."""
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}

    def read(name: str) -> NDArray[np.float32]:
        tensor = tensors[name]
        return np.asarray(quants.dequantize(tensor.data, tensor.tensor_type), np.float32)

    weights: dict[str, NDArray[Any]] = {}
    for ours, spec in parameter_table(config, vocab_size).items():
        names = _their_names(ours, home)
        parts = [_neighbours(read(name), config, name, home, back=True) for name in names]
        weights[ours] = np.concatenate(parts).reshape(spec.shape)
    return weights


def _tensors(model: Model, home: GgufHome) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Our name, the name in the file and the array of each tensor."""
    for ours, spec in parameter_table(model.config, model.vocab_size).items():
        names, array = _their_names(ours, home), np.asarray(model.weights[ours], np.float32)
        n_rows = list(spec.parts.values()) if len(names) > 1 else [len(array)]
        for theirs, part in zip(names, np.split(array, np.cumsum(n_rows)[:-1]), strict=True):
            yield ours, theirs, _neighbours(part, model.config, theirs, home)


def _their_names(ours: str, home: GgufHome) -> list[str]:
    module, _, kind = ours.rpartition(".")
    if not module.startswith("blocks."):
        return [f"{_NAMES[module]}.{kind}"]
    _, layer, module = module.split(".", 2)
    if module == "attention.qkv" and not home.joined:
        return [f"blk.{layer}.attn_{part}.{kind}" for part in "qkv"]
    return [f"blk.{layer}.{_NAMES[module]}.{kind}"]


def _neighbours(
    array: NDArray[np.float32], config: ModelConfig, name: str, home: GgufHome, back: bool = False
) -> NDArray[np.float32]:
    """Rows of queries or keys whose pairs stand side by side, or `back` to halves."""
    if not home.interleaved or not any(f".attn_{part}." in name for part in "qk"):
        return array
    shape = (-1, config.d_head // 2, 2) if back else (-1, 2, config.d_head // 2)
    return array.reshape(*shape, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, chat: bool) -> None:
    values = definition.read(tokenizer.definition)
    if not definition.is_bpe(values):
        raise NoHomeError(
            "tokenizer: llama.cpp has no such tokenizer; it must be byte-level BPE that splits like GPT-2"
        )
    special = definition.read_special_tokens(values)
    model = values["model"]
    tokens = definition.by_id({**model["vocab"], **special})
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(definition.pair_of(merge)) for merge in model["merges"]])
    for add in (writer.add_bos_token_id, writer.add_pad_token_id):
        add(tokenizer.end_id)
    writer.add_eos_token_id(tokenizer.special_tokens[END_OF_TURN] if chat else tokenizer.end_id)
    writer.add_add_bos_token(True)  # a document starts after the end of another
    if chat:
        writer.add_eot_token_id(tokenizer.special_tokens[END_OF_TURN])
        writer.add_chat_template(CHAT_TEMPLATE)
