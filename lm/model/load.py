"""From a model file to a model in PyTorch."""

from pathlib import Path

import torch

from lm.config.weights import Weights
from lm.formats.model_file import ModelCard, load_weights
from lm.model.reader import Reader
from lm.model.transformer import Transformer


def load_model(path: Path) -> tuple[Transformer, ModelCard]:
    """The model in a file, on the CPU, ready for evaluation, and its card. Raises as `load_weights` does."""
    weights, card = load_weights(path)
    model = Transformer(card.config, card.vocab_size)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return model.eval(), card


def load_reader(
    path: Path, weights: Weights = "fp32", device: torch.device | None = None, place: str = "weights"
) -> tuple[Reader, ModelCard]:
    """The model in a file, ready for generation on a device (the CPU if None), and its card.

    Raises:
        ValueError: as `load_weights` and `Reader` do; `place` names the parameter that holds `weights`.
    """
    model, card = load_model(path)
    return Reader(model if device is None else model.to(device), weights, place), card
