"""Models of others in our format: folders of Hugging Face `transformers` with a Llama, a Qwen3 or a GPT-2.

So their weights can be evaluated, asked for text, looked into and trained further. A folder holds config.json, the
weights as safetensors, in one file or several, and tokenizer.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from lm.config.special_tokens import END_OF_TEXT
from lm.exchange.rewrites import Model
from lm.exchange.their_settings import read_object, read_settings
from lm.formats.parameters import parameter_table
from lm.formats.transformers import from_transformers
from lm.tokenizer import definition
from lm.tokenizer.chat import CHAT_TEMPLATE
from lm.tokenizer.library import open_library
from lm.tokenizer.load import parse_tokenizer
from lm.tokenizer.pretrained import open_pretrained
from lm.tokenizer.tokenizer import Tokenizer

_GPT2_FILES = ("vocab.json", "merges.txt")


def read_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a folder of transformers, for a model with this many tokens.

    The token that ends a text there is called `<|endoftext|>` here, and keeps its id. Ids that only the model has get
    names of their own, so that each id it may draw is one of the tokenizer's.

    Raises:
        ValueError: when there is no tokenizer, no token that ends a text, or the model knows fewer tokens.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        if not all((folder / name).exists() for name in _GPT2_FILES):
            raise ValueError(f"{folder}: must hold tokenizer.json, or {' and '.join(_GPT2_FILES)}")
        return open_pretrained(str(folder), [END_OF_TEXT], folder)
    settings, _ = read_settings(folder)
    try:
        text = path.read_text(encoding="utf-8")
        values = definition.read(text)
        open_library(values, text)  # it says what is broken
        values = _with_our_names(values, settings.end_id, vocab_size)
        return parse_tokenizer(json.dumps(values, indent=2, ensure_ascii=False))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _with_our_names(values: dict[str, Any], end_id: int, vocab_size: int) -> dict[str, Any]:
    """A tokenizer.json whose end token has our name, and that has a token for every id of the model."""
    added = values.get("added_tokens") or []
    end = next((token for token in added if token["id"] == end_id), None)
    if end is None:
        raise ValueError(f"must have a special token with the id {end_id}, the eos_token_id of config.json")
    name, end["content"], end["special"] = end["content"], END_OF_TEXT, True
    vocab = values["model"]["vocab"]
    if isinstance(vocab, dict) and name in vocab:
        values["model"]["vocab"] = {END_OF_TEXT if token == name else token: id for token, id in vocab.items()}
    n_tokens = max(len(vocab), *(token["id"] + 1 for token in added))
    if n_tokens > vocab_size:
        raise ValueError(f"must have at most the {vocab_size} tokens of the model, got {n_tokens}")
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    unused = [{"id": id, "content": f"<|unused_{id}|>", **options} for id in range(n_tokens, vocab_size)]
    # A post-processor would add tokens around each text; what begins a text is our own rule.
    return values | {"added_tokens": added + unused, "post_processor": None}


def read_folder(folder: Path) -> Model:
    """The model in a folder of transformers.

    Raises:
        ValueError: when a file is missing or broken, or when our model cannot compute what the other one computes.
    """
    settings, config = read_settings(folder)
    theirs, table = _read_weights(folder), parameter_table(config, settings.vocab_size)
    try:
        weights = from_transformers(theirs, settings.weight_map, table)
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
    return settings.exists() and read_object(settings).get("chat_template") == CHAT_TEMPLATE


def _read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """All weights as float32, without the tables that some old files hold beside them."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        files = read_object(index).get("weight_map")
        if not isinstance(files, dict):
            raise ValueError(f"{index}: must name the file of each weight under 'weight_map'")
        names = sorted(set(map(str, files.values())))
    weights: dict[str, NDArray[np.float32]] = {}
    for name in names:
        try:
            tensors = load_file(folder / name)
        except FileNotFoundError:
            raise ValueError(f"{folder / name}: no such file; weights are read from safetensors alone") from None
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder / name}: not a safetensors file: {error}") from None
        weights |= {key: tensor.to(torch.float32).numpy() for key, tensor in tensors.items()}
    if not any(key.startswith("transformer.") for key in weights) and "wte.weight" in weights:
        # GPT-2's own release names its weights without the part before them.
        weights = {f"transformer.{key}": array for key, array in weights.items()}
    tables = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
    return {key: array for key, array in weights.items() if not key.endswith(tables)}
