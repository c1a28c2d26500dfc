"""Where a trained model and its tokenizer lie: in one folder, as the train stage leaves them."""

from pathlib import Path
from typing import NamedTuple

MODEL, TOKENIZER = "model.safetensors", "tokenizer.json"


class ModelFiles(NamedTuple):
    """The files of a trained model."""

    model: Path
    tokenizer: Path


def model_files(path: Path, tokenizer: Path | None = None) -> ModelFiles:
    """The files of the model in a folder, or of a model file; the tokenizer is the given one, or lies beside the model.

    Raises:
        ValueError: when one is missing, with what to do.
    """
    model = path / MODEL if path.is_dir() else path
    if not model.exists():
        raise ValueError(f"{model}: no such file; name a folder that holds {MODEL}, or a model file")
    tokenizer = tokenizer or model.parent / TOKENIZER
    if not tokenizer.exists():
        raise ValueError(f"tokenizer: {tokenizer}: no such file; it must lie beside the model, or be given")
    return ModelFiles(model, tokenizer)
