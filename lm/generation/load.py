"""A trained model and its tokenizer, found by their folder."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from lm.config.weights import Weights
from lm.formats.model_file import ModelCard, check_same_tokenizer
from lm.formats.model_folder import model_files
from lm.generation.session import LanguageModel
from lm.reference.load import load_model
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.tokenizer import Tokenizer

Backend = Literal["auto", "torch", "numpy"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class Trained(NamedTuple):
    """A model that can generate, the tokenizer that it was trained with, and its card."""

    model: LanguageModel
    tokenizer: Tokenizer
    card: ModelCard


def load_trained(
    path: Path,
    tokenizer_path: Path | None = None,
    *,
    backend: Backend = "auto",
    device: Device = "auto",
    weights: Weights = "fp32",
) -> Trained:
    """The model in a folder or a file, and its tokenizer: the one given, else the `tokenizer.json` beside the model.

    The backend `auto` is PyTorch where it is installed, and NumPy elsewhere. PyTorch is imported only if it is used.
    `weights` is how the matrices are stored; NumPy has float32 alone.

    Raises:
        ValueError: with one line that says what is missing or does not fit, and how to give it.
    """
    model_path, tokenizer_path = model_files(path, tokenizer_path)
    if _choose(backend, device, weights) == "torch":
        model, card = _load_torch_model(model_path, device, weights)
    else:
        model, card = load_model(model_path)
    tokenizer = load_tokenizer(tokenizer_path)
    check_same_tokenizer(str(tokenizer_path), tokenizer.sha256, str(model_path), card.tokenizer_sha256)
    return Trained(model, tokenizer, card)


def _choose(backend: Backend, device: Device, weights: Weights) -> Literal["torch", "numpy"]:
    has_torch = find_spec("torch") is not None
    if backend == "torch" and not has_torch:
        raise ValueError("backend: must be 'numpy' or 'auto' where PyTorch is not installed, got 'torch'")
    if backend == "auto":
        backend = "torch" if has_torch else "numpy"
    if backend == "numpy" and device not in ("auto", "cpu"):
        raise ValueError(f"device: must be 'cpu' or 'auto' with NumPy, got {device!r}")
    if backend == "numpy" and weights != "fp32":
        raise ValueError(f"weights: must be 'fp32' with NumPy, got {weights!r}")
    return backend


def _load_torch_model(path: Path, device: Device, weights: Weights) -> tuple[LanguageModel, ModelCard]:
    from lm.model.load import load_reader
    from lm.system.devices import choose_device

    return load_reader(path, weights, choose_device(device))
