"""Model files: weights in safetensors, in one file with everything that is needed to use them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lm.config.model import ModelConfig
from lm.formats.parameters import parameter_table
from lm.formats.tokens import TokenCard
from lm.system.files import replacing

Weights = Mapping[str, NDArray[Any]]

_KEY = "storyline"
# Files of version 1 say no version. Their sinusoidal positions were added to embeddings that were not multiplied by
# `ModelConfig.embedding_scale`, so such a model would compute another function now.
_VERSION = 2


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about its model, besides the weights."""

    config: ModelConfig
    vocab_size: int
    end_id: int
    tokenizer_sha256: str
    computed: list[dict[str, Any]]  # library, device, precision and so on, each entry from its `from_step` on
    chat: bool = False  # whether it has learnt to answer; else it goes on with texts. Files of before say nothing of it

    @classmethod
    def of(cls, config: ModelConfig, tokens: TokenCard, computed: list[dict[str, Any]]) -> Self:
        """The card of a model of this shape trained on these tokens."""
        return cls(config, tokens.vocab_size, tokens.end_id, tokens.tokenizer_sha256, computed)


def save_model(path: Path, weights: Weights, card: ModelCard) -> None:
    """Write the weights, in float32, and the card. The same content always gives the same bytes.

    Safetensors writes its metadata in no particular order, so the card is a single entry: JSON with sorted keys.
    """
    values = {
        "version": _VERSION,
        "config": card.config.model_dump(),
        "vocab_size": card.vocab_size,
        "end_id": card.end_id,
        "tokenizer_sha256": card.tokenizer_sha256,
        "computed": card.computed,
        "chat": card.chat,
    }
    arrays = {name: np.ascontiguousarray(weight, dtype=np.float32) for name, weight in weights.items()}
    with replacing(path) as file:
        file.write(save(arrays, {_KEY: json.dumps(values, sort_keys=True)}))


def load_weights(path: Path) -> tuple[dict[str, NDArray[np.float32]], ModelCard]:
    """The weights in a model file, by name, and its card.

    Raises:
        ValueError: when the file is missing, is not a model of ours, or its weights do not fit its configuration.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(
                    f"{path}: must carry its configuration under the metadata key {_KEY!r}, got {list(metadata)}"
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: for types that NumPy does not have
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    try:
        values = json.loads(metadata[_KEY])
        version = values.get("version", 1)
        if version not in (1, _VERSION):
            raise ValueError(f"version: must be 1 or {_VERSION}, got {version!r}")
        card = ModelCard(
            ModelConfig.parse(values["config"]),
            values["vocab_size"],
            values["end_id"],
            values["tokenizer_sha256"],
            values["computed"],
            values.get("chat", False),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: must carry the card of a model: {error}") from None
    if version == 1 and card.config.positions == "sinusoidal":
        raise ValueError(
            f"{path}: with sinusoidal positions the file must be of version {_VERSION}, where embeddings are "
            f"multiplied by the root of d_model, got version {version}; train the model again"
        )
    try:
        check_weights(weights, card.config, card.vocab_size)
    except ValueError as error:
        raise ValueError(f"{path}: weights do not fit the configuration: {error}") from None
    return {name: weight.astype(np.float32, copy=False) for name, weight in weights.items()}, card


def check_weights(weights: Weights, config: ModelConfig, vocab_size: int) -> None:
    """Raise ValueError unless the weights are those of a model of that shape, and all float32 or all float64."""
    shapes = {name: spec.shape for name, spec in parameter_table(config, vocab_size).items()}
    for name, shape in shapes.items():
        if name not in weights:
            raise ValueError(f"{name}: missing")
        if weights[name].shape != shape:
            raise ValueError(f"{name}: must have the shape {shape}, got {weights[name].shape}")
    if unknown := sorted(weights.keys() - shapes.keys()):
        raise ValueError(f"{unknown[0]}: is not a parameter of this model")
    dtypes = {str(weight.dtype) for weight in weights.values()}
    if dtypes not in ({"float32"}, {"float64"}):
        raise ValueError(f"must all be float32, or all float64, got {', '.join(sorted(dtypes))}")


def check_same_tokenizer(what: str, sha256: str, expected_by: str, expected: str) -> None:
    """Raise ValueError when two artefacts were made with different tokenizers."""
    if sha256 != expected:
        raise ValueError(
            f"{what}: must have the tokenizer of {expected_by}, with the hash {expected[:12]}, got {sha256[:12]}"
        )
