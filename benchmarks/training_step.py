"""Tokens per second of whole training steps, with and without what makes them fast on a CPU with bf16.

    python -m benchmarks.training_step

Each case runs in its own process, because the allocator can be set only once. The cases take turns, so that a machine
whose speed drifts is fair to all. The model is that of params.yaml.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.system.memory import keep_freed_memory
from lm.training.batch import Batch
from lm.training.build import build_backend

VOCAB_SIZE = 2048
CASES = {
    "as the train stage does": ["bf16", "math", "kept", "plain"],
    "compiled": ["bf16", "math", "kept", "compiled"],
    "fp32": ["fp32", "fused", "kept", "plain"],
    "fp32, compiled": ["fp32", "fused", "kept", "compiled"],
    "fused attention kernel": ["bf16", "fused", "kept", "plain"],
    "allocator as it comes": ["bf16", "math", "fresh", "plain"],
    "fused, and allocator as it comes": ["bf16", "fused", "fresh", "plain"],
}


def measure(precision: str, attention: str, memory: str, code: str, n_steps: int = 40) -> float:
    """The median tokens per second of steps."""
    if memory == "kept":
        keep_freed_memory()
    params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    model_config = ModelConfig.parse(params["model"])
    changes = {"precision": precision, "attention": attention, "compile": code == "compiled", "accumulate": 1}
    config = TrainConfig.parse(params["train"] | changes)
    backend = build_backend(config, model_config, VOCAB_SIZE, seed=0)
    generator = np.random.Generator(np.random.Philox(0))
    ids = generator.integers(0, VOCAB_SIZE, (config.batch_size, model_config.context_length + 1))
    batch = Batch.of_windows(ids)
    times_s = []
    for step in range(n_steps):
        start = time.perf_counter()
        backend.gradient([batch], (0, step))
        backend.update(config.learning_rate)
        times_s.append(time.perf_counter() - start)
    return config.batch_size * model_config.context_length / statistics.median(times_s[n_steps // 4 :])


def main() -> None:
    """Print one row for each case: the median over rounds, and its ratio to the first case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(measure(*arguments.case))
        return
    speeds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(arguments.rounds):
        for name, case in CASES.items():
            command = [sys.executable, "-m", "benchmarks.training_step", "--case", *case]
            speeds[name].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    first = statistics.median(speeds["as the train stage does"])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {arguments.rounds} rounds")
    for name, values in speeds.items():
        print(f"{name:32} {statistics.median(values):8,.0f} tokens/s  {statistics.median(values) / first:.2f}")


if __name__ == "__main__":
    main()
