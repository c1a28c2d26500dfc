"""Runs and results made by hand, in place of those that DVC would report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

from experiments.compare import comparison as comparison_module
from experiments.compare.comparison import Comparison, FinishedRun, compare
from experiments.compare.curves import Curves
from experiments.compare.divergence import broke_down
from experiments.define.experiment_set import ExperimentSet, Run
from experiments.define.parameters import flatten, load_params
from experiments.run.results import Result
from tests.project import ROOT

PARAMS = load_params(ROOT / "params.yaml")


def made_run(experiment: str, seed: int | None = None, **overrides: Any) -> Run:
    """A run of the set `made`; `model_norm="none"` overrides model.norm."""
    changed = {key.replace("_", ".", 1): value for key, value in overrides.items()}
    name = f"made-{experiment}" + ("" if seed is None else f"-s{seed}")
    return Run(name, experiment, seed, f"Why {experiment}?", changed | ({} if seed is None else {"seed": seed}))


def made_set(*runs: Run, against: str | None = None, by: str | None = None) -> ExperimentSet:
    """A set of runs; the first is the baseline."""
    return ExperimentSet("made", "Which is best?", None, runs, runs[0].experiment, against, by)


def made_curve(losses: list[float]) -> pd.DataFrame:
    """A training or validation curve with a row every ten steps."""
    steps = [10 * (i + 1) for i in range(len(losses))]
    return pd.DataFrame({"step": steps, "tokens": [100 * s for s in steps], "loss": losses, "accuracy": 0.5})


def made_result(run: Run, bits_per_byte: float, **metrics: Any) -> Result:
    """The finished experiment of a run."""
    parameters = flatten(PARAMS) | run.overrides
    values = {"bits_per_byte": bits_per_byte, "loss": 2 * bits_per_byte, "accuracy": 1 - bits_per_byte}
    return Result(
        run.name, "0" * 40, "done", parameters, values | {"n_parameters": 1000, "vocab_size": 2048} | metrics, {}
    )


def made_finished(run: Run, bits_per_byte: float, losses: list[float] | None, **metrics: Any) -> FinishedRun:
    """A run with its result and curves; no curves where `losses` is None."""
    result = made_result(run, bits_per_byte, **metrics)
    curve = None if losses is None else made_curve(losses)
    curves = Curves(curve, curve, None, None, None)
    return FinishedRun(run, result, curves, broke_down(result, curves))


def made_comparison(experiment_set: ExperimentSet, finished: Sequence[FinishedRun]) -> Comparison:
    """The comparison of a set from finished runs, whose curves are not read from a repository."""
    by_name = {run.definition.name: run for run in finished}
    with patch.object(comparison_module, "read_curves", lambda result, *_others, **_kinds: by_name[result.name].curves):
        return compare(experiment_set, PARAMS, {name: run.result for name, run in by_name.items()}, Path())
