"""From a training configuration to the backend that carries it out."""

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.training.backend import Backend


def build_backend(config: TrainConfig, model_config: ModelConfig, vocab_size: int, seed: int) -> tuple[Backend, str]:
    """A backend with a fresh model, and what it computes with, in words.

    Only the library of the backend is imported: NumPy trains where there is no PyTorch.

    Raises:
        ValueError: when this machine does not have the library or the device that is asked for.
    """
    if config.backend == "numpy":
        import numpy as np

        from lm.reference.initial import initial_weights
        from lm.reference.transformer import Transformer as NumpyTransformer
        from lm.training.numpy_backend import NumpyBackend

        weights = initial_weights(model_config, vocab_size, seed)
        return NumpyBackend(NumpyTransformer(model_config, weights), config), f"numpy {np.__version__} on cpu"

    try:
        import torch
    except ModuleNotFoundError:
        raise ValueError("train.backend: 'torch' is not installed here; install it, or use 'numpy'") from None

    from lm.devices import choose_device
    from lm.model.transformer import Transformer
    from lm.training.torch_backend import TorchBackend

    device = choose_device(config.device)
    model = Transformer(model_config, vocab_size, seed)
    return TorchBackend(model, config, device), f"torch {torch.__version__} on {device}"
