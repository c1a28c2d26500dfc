"""Model files: weights in safetensors, with all that is needed to use them in the same file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lm.config.model import ModelConfig
from lm.files import replacing
from lm.model.transformer import Transformer
from lm.tokens import TokenCard

_KEY = "storyline"


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of its model, besides the weights."""

    config: ModelConfig
    vocab_size: int
    end_id: int
    tokenizer_sha256: str

    @classmethod
    def of(cls, config: ModelConfig, tokens: TokenCard) -> Self:
        """The card of a model of this shape trained on these tokens."""
        return cls(config, tokens.vocab_size, tokens.end_id, tokens.tokenizer_sha256)


def save_model(path: Path, weights: dict[str, Tensor], card: ModelCard) -> None:
    """Write weights and card; the same content always gives the same bytes.

    Safetensors keeps its metadata in no particular order, so the card is one entry: JSON with sorted keys.
    """
    values = {
        "config": card.config.model_dump(),
        "vocab_size": card.vocab_size,
        "end_id": card.end_id,
        "tokenizer_sha256": card.tokenizer_sha256,
    }
    data = save({name: w.contiguous().cpu() for name, w in weights.items()}, {_KEY: json.dumps(values, sort_keys=True)})
    with replacing(path) as file:
        file.write(data)


def load_model(path: Path) -> tuple[Transformer, ModelCard]:
    """The model in a file, on the CPU, ready for evaluation, and its card.

    Raises:
        ValueError: when the file is missing, is not a model of ours, or its weights do not fit its configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    if _KEY not in metadata:
        raise ValueError(f"{path}: must carry its configuration under the metadata key {_KEY!r}, got {list(metadata)}")
    try:
        values = json.loads(metadata[_KEY])
        card = ModelCard(
            ModelConfig.parse(values["config"]), values["vocab_size"], values["end_id"], values["tokenizer_sha256"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: must carry the card of a model: {error}") from None
    model = Transformer(card.config, card.vocab_size)
    _load(model, weights, path)
    return model.eval(), card


def _load(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path}: weights do not fit the configuration: {' '.join(str(error).split())}") from None


def check_same_tokenizer(what: str, sha256: str, expected_by: str, expected: str) -> None:
    """Raise ValueError when two artefacts were made with different tokenizers."""
    if sha256 != expected:
        raise ValueError(
            f"{what}: must be of the tokenizer that {expected_by} was made with ({expected[:12]}), got {sha256[:12]}"
        )
