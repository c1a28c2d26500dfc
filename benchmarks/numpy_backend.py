"""The NumPy backend and the PyTorch backend in float32: how much their losses differ, and how fast each one trains.

    dvc repro encode                                 makes the tokens whose losses are compared
    python -m benchmarks.numpy_backend               both tables
    python -m benchmarks.numpy_backend --steps 0     only the speed, on random ids

Both run what the train stage runs, from the forward pass to the optimizer. Each measurement has its own process. The
backends take turns, so that a machine whose speed drifts is fair to both. Both libraries use as many threads as there
are cores. PyTorch with one thread is compared with PyTorch with all threads too, to show how much rounding alone
changes the losses.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.tokens import TokenFile
from lm.system.memory import keep_freed_memory
from lm.system.processes import n_cores
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.source import Windows
from lm.training.trainer import Trainer

VOCAB_SIZE = 2048
BACKENDS = ("torch", "numpy")
SPLITS = ("train", "valid")
LEARNING_RATES = (0.001, 0.004)
# Changes of the default model. The third shape is that of educational models in NumPy.
SHAPES: list[dict[str, int]] = [
    {"d_model": 128},
    {"d_model": 256},
    {"d_model": 128, "n_layers": 2, "context_length": 128, "batch_size": 32},
]


def configs(backend: str, changes: Mapping[str, float]) -> tuple[ModelConfig, TrainConfig]:
    """The sections of params.yaml, in float32, with some parameters changed."""
    params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    fixed: dict[str, Any] = {"backend": backend, "precision": "fp32", "device": "cpu", "compile": False}
    fixed |= {"optimizer": "adamw", "qk_norm": False}
    for name, value in (fixed | dict(changes)).items():
        params["model" if name in params["model"] else "train"][name] = value
    return ModelConfig.parse(params["model"]), TrainConfig.parse(params["train"])


def measure_speed(backend: str, changes: dict[str, int], n_steps: int = 16) -> float:
    """The median tokens per second of training steps."""
    model_config, config = configs(backend, changes)
    trained = build_backend(config, model_config, VOCAB_SIZE, seed=0)
    shape = (config.batch_size, model_config.context_length + 1)
    batch = Batch.of_windows(np.random.Generator(np.random.Philox(0)).integers(0, VOCAB_SIZE, shape))
    times_s = []
    for step in range(n_steps):
        start = time.perf_counter()
        trained.gradient([batch], (0, step))
        trained.update(config.learning_rate)
        times_s.append(time.perf_counter() - start)
    return config.batch_size * model_config.context_length / statistics.median(times_s[n_steps // 4 :])


def losses(backend: str, learning_rate: float, n_steps: int) -> list[float]:
    """The training losses of the default model on the tokens of the pipeline, with the given learning rate."""
    model_config, config = configs(backend, {"steps": n_steps, "learning_rate": learning_rate, "valid_every": n_steps})
    train, valid = (TokenFile(Path(f"data/tokens/{name}.bin"), Path(f"data/tokens/{name}.json")) for name in SPLITS)
    trained = build_backend(config, model_config, train.card.vocab_size, seed=0)
    windows = [Windows(tokens.ids, model_config.context_length) for tokens in (train, valid)]
    return list(Trainer(trained, windows[0], windows[1], config, seed=0).run())


def in_process(n_threads: int, *arguments: Any) -> Any:
    """What this module prints when it is run with `--case` and these arguments."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))
    command = [sys.executable, "-m", "benchmarks.numpy_backend", "--case", json.dumps(arguments)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | threads)
    return json.loads(result.stdout)


def run_case(what: str, *arguments: Any) -> Any:
    """One measurement, in its own process."""
    keep_freed_memory()
    return measure_speed(*arguments) if what == "speed" else losses(*arguments)


def n_first(n_steps: int) -> int:
    """A tenth of the steps, and at least one."""
    return max(1, n_steps // 10)


def loss_rows(n_steps: int) -> Iterator[str]:
    """A row of Markdown for each learning rate: how much the other losses differ from those of PyTorch."""
    for rate in LEARNING_RATES:
        torch_losses = np.array(in_process(n_cores(), "losses", "torch", rate, n_steps))
        cells = []
        for backend, n_threads in (("numpy", n_cores()), ("torch", 1)):
            gap = np.abs(np.array(in_process(n_threads, "losses", backend, rate, n_steps)) - torch_losses)
            cells += [f"{part.max():.1e}" for part in (gap[: n_first(n_steps)], gap, gap[-n_first(n_steps) :])]
        yield f"| {rate} | {torch_losses[0]:.2f} to {torch_losses[-1]:.2f} | {' | '.join(cells)} |"


def speed_rows(n_rounds: int) -> Iterator[str]:
    """A row of Markdown for each shape: tokens per second of both, and their ratio in the same round."""
    for changes in SHAPES:
        rounds = [
            {backend: in_process(n_cores(), "speed", backend, changes) for backend in BACKENDS} for _ in range(n_rounds)
        ]
        torch_speed, numpy_speed = (statistics.median(one[backend] for one in rounds) for backend in BACKENDS)
        ratios = sorted(one["numpy"] / one["torch"] for one in rounds)
        model, config = configs("numpy", changes)
        steps_per_s = numpy_speed / (config.batch_size * model.context_length)
        yield (
            f"| d_model {model.d_model}, {model.n_layers} layers, batch {config.batch_size} x {model.context_length} | "
            f"{torch_speed:,.0f} | {numpy_speed:,.0f} | {steps_per_s:.1f} | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )


def main() -> None:
    """Print how much the losses differ, and a table of speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each speed is measured")
    parser.add_argument("--steps", type=int, default=200, help="steps whose losses are compared")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run_case(*json.loads(arguments.case))))
        return
    print(f"{n_cores()} threads for each backend, medians of {arguments.rounds} rounds\n")
    if arguments.steps:
        n = n_first(arguments.steps)
        parts = f"first {n} steps | all {arguments.steps} | last {n}"
        print(f"| learning rate | loss | numpy, {parts} | torch with 1 thread, {parts} |")
        print("|---|---|---|---|---|---|---|---|")
        for row in loss_rows(arguments.steps):
            print(row, flush=True)
        print()
    print("| | torch, tokens/s | numpy, tokens/s | numpy, steps/s | numpy / torch |\n|---|---|---|---|---|")
    for row in speed_rows(arguments.rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
