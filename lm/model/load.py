"""From a model file to a model in PyTorch."""

from pathlib import Path

import torch

from lm.model.transformer import Transformer
from lm.weights import ModelCard, load_weights


def load_model(path: Path) -> tuple[Transformer, ModelCard]:
    """The model in a file, on the CPU, ready for evaluation, and its card. Raises as `lm.weights.load_weights` does."""
    weights, card = load_weights(path)
    model = Transformer(card.config, card.vocab_size)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return model.eval(), card
