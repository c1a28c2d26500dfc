"""A folder that Hugging Face `transformers` opens: configuration, weights, tokenizer, defaults of generation."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lm.config.export import Dtype
from lm.config.special_tokens import END_OF_TEXT, END_OF_TURN
from lm.exchange.dtypes import TORCH
from lm.exchange.homes import Home
from lm.exchange.rewrites import Model
from lm.formats.parameters import parameter_table
from lm.formats.transformers import to_transformers
from lm.system.files import replacing, write_json
from lm.tokenizer.chat import CHAT_TEMPLATE
from lm.tokenizer.tokenizer import Tokenizer

DTYPE = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def configuration(home: Home, model: Model, end_id: int, dtype: Dtype) -> dict[str, Any]:
    """What config.json says of a rewritten model."""
    return {
        "architectures": [home.architecture],
        "model_type": home.model_type,
        **home.settings(model.config),
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": model.config.tie_embeddings,
        "bos_token_id": end_id,  # a document starts after the end of another
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "dtype": DTYPE[dtype],
        "use_cache": True,
    }


def write_folder(
    folder: Path, home: Home, model: Model, tokenizer: Tokenizer, dtype: Dtype, generation: dict[str, Any]
) -> None:
    """Write a rewritten model and its tokenizer into a folder that exists.

    `generation` holds the defaults of generation there, such as the temperature.
    """
    table = parameter_table(model.config, model.vocab_size)
    arrays = home.adapt(to_transformers(model.weights, home.weight_map, table))
    tensors = {name: torch.from_numpy(array).to(TORCH[dtype]).contiguous() for name, array in arrays.items()}
    with replacing(folder / "model.safetensors") as file:
        file.write(save(tensors, {"format": "pt"}))
    write_json(folder / "config.json", configuration(home, model, tokenizer.end_id, dtype))
    write_tokenizer(folder, model, tokenizer, generation)


def write_tokenizer(folder: Path, model: Model, tokenizer: Tokenizer, generation: dict[str, Any]) -> None:
    """Write the tokenizer and the defaults of generation.

    A chat model ends an answer with its turn, and its template travels with the tokenizer.
    """
    ids: dict[str, Any] = {f"{kind}_token_id": tokenizer.end_id for kind in ("bos", "eos", "pad")}
    if model.chat:
        ids["eos_token_id"] = [tokenizer.special_tokens[END_OF_TURN], tokenizer.end_id]
    write_json(folder / "generation_config.json", ids | generation)
    tokenizer.save(folder / "tokenizer.json")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{kind}_token": END_OF_TEXT for kind in ("bos", "eos", "pad")},
        "model_max_length": model.config.context_length,
        "clean_up_tokenization_spaces": False,
    }
    if model.chat:
        settings |= {"eos_token": END_OF_TURN, "chat_template": CHAT_TEMPLATE}
    write_json(folder / "tokenizer_config.json", settings)
