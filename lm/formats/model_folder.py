"""Where a trained model, its tokenizer and its snapshots lie, as the train stage leaves them."""

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


def snapshot_name(step: int) -> str:
    """The name of the model file with the weights after so many steps."""
    return f"{step}.safetensors"


def snapshot_files(folder: Path) -> dict[int, Path]:
    """The model files in a folder of snapshots by their steps, in the order of the steps.

    Raises:
        ValueError: when there is a file with another name.
    """
    files = {}
    for path in folder.iterdir():
        step = path.name.removesuffix(".safetensors")
        if not step.isdecimal() or path.name != snapshot_name(int(step)):
            raise ValueError(f"{path}: must be named STEP.safetensors")
        files[int(step)] = path
    return dict(sorted(files.items()))
