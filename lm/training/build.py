"""From a training configuration to the backend that carries it out."""

from importlib.util import find_spec

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.distributed.launch import team_size
from lm.training.backend import Backend


def build_backend(config: TrainConfig, model_config: ModelConfig, vocab_size: int, seed: int) -> Backend:
    """A backend with a fresh model.

    Only the library of the backend is imported: NumPy trains where there is no PyTorch.

    Raises:
        ValueError: when this machine cannot compute as it is asked to.
    """
    check_processes(config)
    if config.backend == "numpy":
        from lm.reference.initial import initial_weights
        from lm.reference.transformer import Transformer as NumpyTransformer
        from lm.training.numpy_backend import NumpyBackend

        weights = initial_weights(model_config, vocab_size, seed)
        return NumpyBackend(NumpyTransformer(model_config, weights), config)

    _check_torch()
    from lm.distributed.torch_team import join
    from lm.model.transformer import Transformer
    from lm.system.devices import choose_device, memory_errors
    from lm.training.torch_backend import TorchBackend

    team, device = join(choose_device(config.device))
    with memory_errors():
        return TorchBackend(Transformer(model_config, vocab_size, seed), config, device, team)


def n_processes(config: TrainConfig) -> int:
    """How many processes a run is for.

    Raises:
        ValueError: when the machine has fewer devices, or no PyTorch.
    """
    if config.processes == 1 or config.backend == "numpy":
        return 1
    _check_torch()
    from lm.system.devices import choose_device
    from lm.training import compute

    return compute.n_processes(config, choose_device(config.device))


def check_processes(config: TrainConfig) -> None:
    """Raise ValueError when a batch does not divide among the processes that run."""
    size = team_size()
    if config.processes not in ("auto", size):
        raise ValueError(
            f"train.processes: must be as many as the launcher has started ({size}), got {config.processes}"
        )
    if config.part_size % size:
        raise ValueError(
            f"train.batch_size: each of its {config.accumulate} parts must divide among {size} processes, "
            f"got {config.part_size} sequences a part"
        )


def _check_torch() -> None:
    if find_spec("torch") is None:
        raise ValueError("train.backend: 'torch' is not installed here; install it, or use 'numpy'")
