"""How a run is computed on this machine. These choices change its speed, and of its result only the rounding.

With dropout they also decide which activations are dropped.

A choice left to `auto` depends on the parameters and on the hardware, never on a measurement. So the same machine
always makes the same choice. Another choice would round differently, and the result would not have the same bytes.
"""

import os
import shutil
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.parameters import n_parameters
from lm.model.attend import Kernel, faster_kernel
from lm.system.devices import Precision
from lm.system.processor import processor_name

# A run with more operations than this (about 6 a parameter and token) is compiled, because faster steps then save more
# than the compiler takes, which is about half a minute. CPUs that gain from it do about 10^11 operations a second, GPUs
# about 10^14.
_WORTH_COMPILING = {"cpu": 6e13, "cuda": 1e16}
_REPLAYED = "kernels replayed"
_FLEXIBLE = 16  # features of a head that FlexAttention needs
# From here on FlexAttention is faster than PyTorch's kernel, whose deterministic backward pass is slow.
_LONG, _WIDE = 1024, 64  # positions, features of a head


@dataclass(frozen=True)
class ComputeChoices:
    """The choices of one run. The card of its model records them."""

    device: str
    processor: str
    precision: Precision
    processes: int
    shard: bool
    threads: int | None
    compile: bool
    attention: Kernel
    recompute: bool

    def facts(self) -> dict[str, Any]:
        """The choices as JSON can hold them."""
        # NumPy draws the order of the data.
        return {"library": f"torch {torch.__version__}", "numpy": np.__version__, **asdict(self)}


def choose_compute(
    config: TrainConfig, model_config: ModelConfig, vocab_size: int, device: torch.device, n_processes: int = 1
) -> tuple[ComputeChoices, list[str]]:
    """How to compute a run in processes that use this device, and the choices in words, each with its reason.

    Raises:
        ValueError: when the configuration asks for something that this machine cannot do.
    """
    precision, reason = choose_precision(config, device)
    words = [f"torch {torch.__version__} on {_name(device)}", f"{precision} ({reason})" if reason else precision]
    threads = None
    if n_processes > 1:
        words.append(f"{n_processes} processes{', each with a part of the model' if config.shard else ''}")
    if device.type == "cpu":
        # torchrun has already divided the threads among the processes.
        n_sharers = 1 if torch.distributed.is_torchelastic_launched() else n_processes
        threads = config.threads or max(1, torch.get_num_threads() // n_sharers)
        words.append(f"{threads} {'thread' if threads == 1 else 'threads'}{' each' if n_processes > 1 else ''}")
    compile_, reason = _compile(config, n_parameters(model_config, vocab_size), model_config.context_length, device)
    words.append(f"{'compiled' if compile_ else 'not compiled'} ({reason})")
    attention, reason = _attention(config, model_config, device, precision, compile_)
    words.append(f"{attention} attention ({reason})")
    if config.recompute:
        words.append("activations recomputed")
    shard = config.shard and n_processes > 1
    made = ComputeChoices(
        device.type,
        _processor(device),
        precision,
        n_processes,
        shard,
        threads,
        compile_,
        attention,
        config.recompute,
    )
    if replays(made, model_config):
        words.append(_REPLAYED)
    return made, words


def replays(choices: ComputeChoices, model_config: ModelConfig) -> bool:
    """Whether a GPU replays the kernels of a step (`lm.training.replayed`).

    With float16 Python decides whether a step is left out. Several processes wait for each other. Dropout draws other
    numbers at each step.
    """
    alone = choices.processes == 1 and choices.precision != "fp16" and model_config.dropout == 0
    return choices.device == "cuda" and choices.compile and alone


def plain_instead(choices: ComputeChoices, words: list[str], fault: str) -> tuple[ComputeChoices, list[str]]:
    """The choices, and their words, of a run that gives up compiling, because compiled code is wrong here."""
    words = [word for word in words if word != _REPLAYED]
    compiled = next(i for i, word in enumerate(words) if word.startswith("compiled"))
    words[compiled] = f"not compiled (a compiled step is wrong here: {fault})"
    if choices.attention != "flex":
        return replace(choices, compile=False), words
    words = ["fused attention (flex needs compiled code)" if "flex attention" in word else word for word in words]
    return replace(choices, compile=False, attention="fused"), words


def set_up(choices: ComputeChoices) -> None:
    """Set the threads of PyTorch, and allow only operations that always give the same bits."""
    if choices.threads is not None:
        torch.set_num_threads(choices.threads)
    # Otherwise compiled code on a CPU adds up the embedding's gradient with atomic additions, in the order in which the
    # threads arrive. cuBLAS and the attention kernels of a GPU have similar cases.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if choices.device == "cpu" and not choices.compile:
        torch.set_deterministic_debug_mode("error")  # the same as below, without the import of the compiler
    else:
        # On Apple's GPUs the embedding's gradient has no deterministic operation, so there it is only a warning.
        torch.use_deterministic_algorithms(True, warn_only=choices.device == "mps")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # for debugging, and slow
    if choices.compile:
        from torch._dynamo import config as tracer
        from torch._inductor import config as compiler

        # Otherwise the compiler times matrix products with and without padding, and takes the faster.
        compiler.shape_padding = False
        # Each list of parameters that the optimizer updates together has code of its own.
        tracer.recompile_limit = max(64, tracer.recompile_limit)


def has_fast_half(device: torch.device) -> bool | None:
    """Whether the device has instructions that multiply bfloat16; None where we do not know.

    Processors without them emulate it, CPUs many times slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return None
    flags = torch.backends.cpu.get_cpu_capability()
    if flags in ("AVX2", "DEFAULT", "NO AVX"):
        return False
    if not flags.startswith("AVX512"):
        return None
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_precision(config: TrainConfig, device: torch.device) -> tuple[Precision, str]:
    """The precision of matrix products, and its reason or what is wrong with it."""
    if config.precision == "auto":
        half = has_fast_half(device)
        return ("bf16", "this processor has instructions for it") if half else ("fp32", "bf16 would not be faster")
    if config.precision == "bf16" and has_fast_half(device) is False:
        return "bf16", "emulated by this processor, many times slower than precision fp32"
    return config.precision, ""


def _compile(config: TrainConfig, n_parameters: int, context_length: int, device: torch.device) -> tuple[bool, str]:
    compiler = device.type != "cpu" or any(map(shutil.which, [os.environ.get("CXX", "g++"), "clang++"]))
    if config.compile != "auto":
        if config.compile and not compiler:
            raise config.wrong("compile", "needs a C++ compiler, g++ or clang++, and this machine has none")
        return config.compile, f"as {config.name()}.compile says"
    n_tokens = config.n_steps(context_length) * config.batch_size * context_length
    if config.shard or device.type not in _WORTH_COMPILING:
        return False, f"not with {config.name()}.shard" if config.shard else f"no gain known on {device.type}"
    if 6 * n_parameters * n_tokens < _WORTH_COMPILING[device.type]:
        return False, "a short run"
    return compiler, "a long run" if compiler else "no C++ compiler"


def _attention(
    config: TrainConfig, model_config: ModelConfig, device: torch.device, precision: Precision, compiled: bool
) -> tuple[Kernel, str]:
    config.check_attention(model_config.dropout)
    flexible = device.type == "cuda" and compiled and model_config.d_head >= _FLEXIBLE
    if config.attention == "flex" and not flexible:
        needs = f"'flex' needs device cuda, compile and heads of at least {_FLEXIBLE} features"
        got = f"{device.type}, {'compiled' if compiled else 'not compiled'} and {model_config.d_head}"
        raise config.wrong("attention", f"{needs}, got {got}")
    if config.attention != "auto":
        return config.attention, f"as {config.name()}.attention says"
    half = precision != "fp32"
    window = model_config.window
    masked = model_config.positions == "alibi" or (window is not None and window < model_config.context_length)
    long = model_config.context_length >= _LONG and model_config.d_head >= _WIDE
    if flexible and half and (masked or long) and model_config.dropout == 0 and config.rows == "windows":
        return "flex", "reads no mask from memory" if masked else "faster in long contexts"
    kernel = faster_kernel(device, half, model_config.context_length, model_config.dropout)
    return kernel, "faster in half precision and short contexts" if kernel == "math" else "stores no scores"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _processor(device: torch.device) -> str:
    """What computes, by model. For a CPU also the instructions that PyTorch uses, because they can be limited."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})"
