"""From a model file to a model in NumPy."""

from pathlib import Path

from lm.formats.model_file import ModelCard, load_weights
from lm.reference.transformer import Transformer


def load_model(path: Path) -> tuple[Transformer, ModelCard]:
    """The model in a file, in float32, and its card. Raises as `lm.formats.model_file.load_weights` does."""
    weights, card = load_weights(path)
    return Transformer(card.config, weights), card
