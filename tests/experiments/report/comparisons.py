"""Comparisons made by hand, from runs with made-up curves and samples."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.compare.comparison import Comparison, FinishedRun
from experiments.compare.curves import Curves, Sample
from experiments.define.experiment_set import ExperimentSet, Run
from experiments.define.parameters import flatten
from experiments.run.results import Result
from tests.experiments.results_by_hand import PARAMS, made_comparison

PROMPTS = ["", "Once upon a time"]
STORY = ", there was a {name} who told a long story about a dog, a kite and the rain."
SAMPLES = (
    Sample("", "A cat said, \"I <script>document.title = 'hacked'</script> & purr.\"\n---\nIt slept.", True),
    Sample("Once upon a time", STORY, False),  # cut off
)


def curve(n: int, end: float, rise: float = 0.0, timed: bool = True) -> pd.DataFrame:
    """A noisy loss curve that falls from ln 2048 to `end`, and rises again where `rise` is positive."""
    steps = np.arange(1, n + 1) * 10
    noise = np.random.default_rng(n).normal(0, 0.02, n)
    losses = end + (7.6 - end) * np.exp(-steps / 90) + noise + rise * np.maximum(0, steps - 5 * n) / n
    columns = {"step": steps, "tokens": steps * 2048, "loss": losses}
    return pd.DataFrame(columns | ({"elapsed_s": steps * 0.21} if timed else {}))


def finished(run: Run, bits_per_byte: float, curves: Curves, diverged: bool = False, **metrics: float) -> FinishedRun:
    """A run with its result and its curves."""
    values = {"bits_per_byte": bits_per_byte, "loss": 2.4 * bits_per_byte, "accuracy": 0.5, "n_parameters": 1_000_000}
    values |= {"tokens": 1_024_000, "vocab_size": 2048, "diverged": diverged} | metrics
    parameters = flatten(PARAMS) | {"sample.prompts": PROMPTS} | run.overrides
    result = Result(run.name, "HEAD", "done", parameters, values, {})
    return FinishedRun(run, result, curves, diverged)


def ablations() -> Comparison:
    """Experiments with curves of unequal lengths; some runs diverged, one was not timed, one has no curves here."""
    asks = {
        "baseline": "What are the others measured against?",
        "no-norm": "Does a model this shallow need its norms?",
        "longer": "What do twice the steps bring?",
        "sgd": "Is momentum alone enough?",
        "away": "Where are its curves?",
    }
    changes: dict[str, dict[str, Any]] = {
        "baseline": {},
        "no-norm": {"model.norm": "none"},
        "longer": {"train.steps": 900},
        "sgd": {"train.optimizer": "sgd"},
        "away": {"model.positions": "none", "data.train": ["my stories.txt"]},
    }
    runs = [
        Run(f"abl-{name}-s{seed}", name, seed, asks[name], {"train.batch_size": 8, **changes[name], "seed": seed})
        for name in asks
        for seed in (1, 2)
    ]
    runs_by_name = {run.name: run for run in runs}

    def done(
        name: str, bits: float, n: int, rise: float = 0.0, diverged: bool = False, timed: bool = True
    ) -> FinishedRun:
        run = runs_by_name[f"abl-{name}"]
        machine = "AMD EPYC, 2 cores" if timed else None
        samples = tuple(replace(sample, text=sample.text.replace("{name}", run.experiment)) for sample in SAMPLES)
        train, valid = curve(n, 2.4 * bits, rise, timed), curve(n // 2, 2.4 * bits, rise, timed)
        valid[["step", "tokens"]] *= 2
        return finished(
            run, bits, Curves(train, valid, samples, machine, *((9800.0, 0.314) if timed else (None, None))), diverged
        )

    finished_runs = [
        done("baseline-s1", 0.870, 50),
        done("baseline-s2", 0.874, 50),
        done("no-norm-s1", 0.951, 50, timed=False),
        done("no-norm-s2", 1.9, 30, rise=900, diverged=True),
        done("longer-s1", 0.842, 90),
        done("longer-s2", 0.838, 90),
        done("sgd-s1", 2.1, 4, rise=3000, diverged=True),
        done("sgd-s2", 2.2, 6, rise=3000, diverged=True),
        finished(runs_by_name["abl-away-s1"], 0.9, Curves(None, None, None, None, None)),
    ]
    asks_all = "What is each part worth, & is <b> escaped?"
    experiment_set = ExperimentSet("abl", asks_all, None, tuple(runs), "baseline", None, None)
    return made_comparison(experiment_set, finished_runs)


def sweep(by: str | None = None, sizes: Sequence[int] = (4, 16)) -> Comparison:
    """A sweep of the learning rate with one seed, at batch sizes where `by` is given; the highest rate diverges."""
    rates = [0.0003, 0.001, 0.003, 0.01, 1.0]
    runs, finished_runs = [], []
    for rate in rates:
        for size in sizes if by else (8,):
            name = f"{rate:g}" + (f"-{size}" if by else "")
            run = Run(f"lr-{name}", name, None, "Which?", {"train.learning_rate": rate, "train.batch_size": size})
            bits = 0.8 + 0.05 * math.log10(rate / 0.003) ** 2 + size / 500 + (2 if rate == 1 else 0)
            runs.append(run)
            finished_runs.append(finished(run, bits, Curves(curve(40, 2 * bits), None, None, None, None), rate == 1))
    baseline = runs[2].experiment
    swept = ("train.learning_rate", by) if by else ("train.learning_rate",)
    experiment_set = ExperimentSet("lr", "Which?", None, tuple(runs), baseline, "train.learning_rate", by, swept)
    return made_comparison(experiment_set, finished_runs)


def scaling() -> Comparison:
    """Model sizes and token budgets, enough of them for a scaling law; no run diverges."""
    runs, finished_runs = [], []
    for width in (32, 64, 128):
        for n_tokens in (256_000, 512_000, 1_024_000):
            name = f"{width}-{n_tokens}"
            changes = {"model.d_model": width, "train.tokens": n_tokens}
            run = Run(f"scaling-{name}", name, None, "How does it fall?", changes)
            size = 2048 * width + 48 * width**2
            bits = 0.5 + 30 / size**0.4 + 300 / n_tokens**0.5 + 0.002 * math.sin(width + n_tokens)
            curves = Curves(curve(n_tokens // 20480, 2.4 * bits, timed=False), None, SAMPLES, None, None)
            runs.append(run)
            finished_runs.append(finished(run, bits, curves, n_parameters=size, tokens=n_tokens))
    baseline = runs[0].experiment
    experiment_set = ExperimentSet(
        "scaling",
        "How does it fall?",
        None,
        tuple(runs),
        baseline,
        "n_parameters",
        "train.tokens",
        ("model.d_model", "train.tokens"),
    )
    return made_comparison(experiment_set, finished_runs)


SETS = {"ablations": ablations, "sweep": sweep, "scaling": scaling}
