"""From a training configuration to the backend that carries it out."""

from importlib.util import find_spec

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.distributed.launch import team_size
from lm.formats.model_file import Weights, check_weights
from lm.system.gpus import is_absent
from lm.system.processes import n_cores
from lm.training.backend import Backend


def build_backend(
    config: TrainConfig,
    model_config: ModelConfig,
    vocab_size: int,
    seed: int,
    initial: Weights | None = None,
    end_id: int | None = None,
) -> Backend:
    """A backend with a fresh model, or with a model that has the weights in `initial`.

    With `end_id`, the token before each document, attention does not look from one document into the one before.

    Only the library of the backend is imported: NumPy trains where there is no PyTorch.

    Raises:
        ValueError: when this machine cannot compute what the configuration asks for, or `initial` does not fit.
    """
    if initial is not None:
        check_weights(initial, model_config, vocab_size)
    check_processes(config)
    if config.backend == "numpy":
        from lm.reference.initial import initial_weights
        from lm.reference.transformer import Transformer as NumpyTransformer
        from lm.training.numpy_backend import NumpyBackend

        weights = initial or initial_weights(model_config, vocab_size, seed)
        arrays = NumpyTransformer(model_config, {name: w.copy() for name, w in weights.items()})
        return NumpyBackend(arrays, config, end_id)

    _check_torch(config)
    import torch

    from lm.distributed.torch_team import join
    from lm.model.transformer import Transformer
    from lm.system.devices import choose_device, memory_errors
    from lm.training.torch_backend import TorchBackend

    team, device = join(choose_device(config.device, f"{config.name()}.device"))
    with memory_errors():
        model = Transformer(model_config, vocab_size, seed)
        if initial is not None:
            model.load_state_dict({name: torch.tensor(weight) for name, weight in initial.items()})
        return TorchBackend(model, config, device, team, end_id)


def n_processes(config: TrainConfig) -> int:
    """How many processes a run needs.

    Raises:
        ValueError: when the machine has fewer devices, or no PyTorch.
    """
    if config.processes == 1 or config.backend == "numpy":
        return 1
    _check_torch(config)
    if config.device == "cpu" or (config.device == "auto" and is_absent("cuda") and is_absent("mps")):
        return fitting_processes(config, "cpu", n_cores())  # those that train load PyTorch, which takes seconds
    import torch

    from lm.system.devices import choose_device

    device = choose_device(config.device, f"{config.name()}.device").type
    return fitting_processes(config, device, {"cpu": n_cores(), "cuda": torch.cuda.device_count()}.get(device, 1))


def fitting_processes(config: TrainConfig, device: str, there: int) -> int:
    """How many processes a run needs on a machine with so many devices of a kind: with `auto` one for each GPU.

    Raises:
        ValueError: when the configuration asks for more.
    """
    if config.processes == "auto":
        return next(n for n in range(there, 0, -1) if config.part_size % n == 0) if device == "cuda" else 1
    if config.processes > there:
        devices = {"cpu": "CPU cores", "cuda": "GPUs"}.get(device, "devices")
        raise config.wrong("processes", f"must be at most the {there} {devices} here, got {config.processes}")
    return config.processes


def check_processes(config: TrainConfig) -> None:
    """Raise ValueError unless there are as many processes as the configuration says, and batches divide among them."""
    size = team_size()
    if config.backend == "numpy" and size > 1:
        raise config.wrong("backend", f"'numpy' needs a launcher that starts 1 process, got {size}")
    if config.processes not in ("auto", size):
        raise config.wrong("processes", f"must be as many as the launcher has started ({size}), got {config.processes}")
    config.check_shares(size)


def _check_torch(config: TrainConfig) -> None:
    if find_spec("torch") is None:
        raise config.wrong("backend", "'torch' is not installed here; install it, or use 'numpy'")
