"""The experiments of a set beside each other: their changes, their results, and their distance to the baseline."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.compare.curves import Curves, read_curves
from experiments.compare.divergence import broke_down
from experiments.compare.scaling_law import FittedLaw, fit_scaling_law
from experiments.compare.statistics import Difference, Summary, differences, summarise
from experiments.define.experiment_set import ExperimentSet, Run
from experiments.define.metrics import HIGHER_IS_BETTER, METRICS, is_of_chat
from experiments.define.parameters import Overrides, decides_results, flatten
from experiments.run.results import Result, finite


@dataclass(frozen=True)
class FinishedRun:
    """A run that has a result, and what the run wrote."""

    definition: Run
    result: Result
    curves: Curves
    diverged: bool

    def value(self, metric: str) -> float | None:
        """The value of a metric; None where it is no finite number."""
        return finite(self.result.metrics.get(metric))


@dataclass(frozen=True)
class Row:
    """An experiment that has a result, over its seeds. Runs that diverged are counted, but not in the summaries."""

    experiment: str
    label: str  # the name as pictures and tables show it: `n_heads=4` for the experiment `4` of a sweep
    asks: str
    changes: Overrides  # parameters that differ from those of the baseline
    runs: tuple[FinishedRun, ...]  # at least one
    summaries: dict[str, Summary]  # by metric
    differences: dict[str, Difference]  # to the baseline, by metric; empty for the baseline itself

    @property
    def n_diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.diverged for run in self.runs)

    @property
    def n_parameters(self) -> int:
        """How many parameters the model has."""
        return int(self.runs[0].result.metrics["n_parameters"])

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second of training, the mean over the runs that were timed on this machine."""
        speeds = [run.curves.tokens_per_s for run in self.runs if run.curves.tokens_per_s]
        return mean(speeds) if speeds else None

    @property
    def utilisation(self) -> float | None:
        """The share of the machine's arithmetic that training used, the mean over the runs for which it is known."""
        shares = [run.curves.utilisation for run in self.runs if run.curves.utilisation]
        return mean(shares) if shares else None

    def swept_value(self, name: str) -> float:
        """The value of a parameter or metric, which must be a number.

        Raises:
            ValueError: when the value is something else.
        """
        result = self.runs[0].result
        value = result.parameters.get(name, result.metrics.get(name))
        if not isinstance(value, int | float):
            raise ValueError(f"against: must be a parameter or metric that is a number, got {name}={value!r}")
        return float(value)

    def line_name(self, by: str) -> str:
        """The value of the parameter `by` as text. Experiments with the same value are joined by a line."""
        value = self.runs[0].result.parameters.get(by)
        return f"{value:,.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Comparison:
    """The rows of a set, in the order of the set."""

    experiment_set: ExperimentSet
    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # runs without a result, each with its state
    baseline: str | None  # None where the baseline has no result
    deviations: dict[str, Overrides]  # by run: parameters that differ from the current definition

    @property
    def runs(self) -> list[tuple[Row, FinishedRun]]:
        """The runs that have a result, each with its row."""
        return [(row, run) for row in self.rows for run in row.runs]

    def best(self, metric: str) -> str | None:
        """The experiment with the best mean; None where all have diverged."""
        means = {row.experiment: row.summaries[metric].mean for row in self.rows if metric in row.summaries}
        pick = max if metric in HIGHER_IS_BETTER else min
        return pick(means, key=lambda name: means[name]) if means else None

    def scaling_law(self, metric: str) -> FittedLaw | None:
        """The law of a set that is drawn against n_parameters by train.tokens.

        None for other sets, for a metric that is no loss, and where the results do not determine a law.
        """
        law = self._law(metric)
        return law if isinstance(law, FittedLaw) else None

    def why_no_scaling_law(self, metric: str) -> str | None:
        """Why a set that asks for a scaling law has none; None where it has one or asks for none."""
        law = self._law(metric)
        return law if isinstance(law, str) else None

    def _law(self, metric: str) -> FittedLaw | str | None:
        axes = (self.experiment_set.against, self.experiment_set.by)
        if axes != ("n_parameters", "train.tokens") or metric in HIGHER_IS_BETTER:
            return None
        points = [
            (run.result.metrics["n_parameters"], run.result.metrics["tokens"], value)
            for _, run in self.runs
            if not run.diverged and (value := run.value(metric)) is not None
        ]
        return _fitted(tuple(points))


@functools.cache  # because a fit takes a second, and a page shows its law in several places
def _fitted(points: tuple[tuple[float, float, float], ...]) -> FittedLaw | str:
    """The scaling law of (sizes, budgets of tokens, losses), or why there is none."""
    try:
        return fit_scaling_law(*zip(*points, strict=True)) if points else "scaling law: all runs diverged"
    except ValueError as error:
        return str(error)


def compare(
    experiment_set: ExperimentSet, params: Mapping[str, Any], results: Mapping[str, Result], root: Path
) -> Comparison:
    """The comparison of a set, from the results of its runs in the repository at `root`.

    Raises:
        ValueError: when no run of the set has a result.
    """
    name = experiment_set.name
    metric = experiment_set.metric
    done = [
        _finished(run, result, root, is_of_chat(metric))
        for run in experiment_set.runs
        if (result := results.get(run.name)) and result.state == "done"
    ]
    finished = [run for run in done if {metric, "n_parameters", "vocab_size"} <= run.result.metrics.keys()]
    if not finished:
        raise ValueError(f"{name}: has no results from this commit; python -m experiments run {name}")
    by_experiment: dict[str, list[FinishedRun]] = {}
    for run in finished:
        by_experiment.setdefault(run.definition.experiment, []).append(run)
    values = {
        metric: {experiment: _values(runs, metric) for experiment, runs in by_experiment.items()} for metric in METRICS
    }
    baseline = experiment_set.baseline if experiment_set.baseline in by_experiment else None
    gaps = {metric: differences(values[metric], baseline) if baseline else {} for metric in METRICS}
    rows = [
        Row(
            experiment=experiment,
            label=_label(experiment_set, experiment),
            asks=next(run.asks for run in experiment_set.runs if run.experiment == experiment),
            changes=_changes(experiment_set, experiment, params),
            runs=tuple(runs),
            summaries={
                metric: summary
                for metric in METRICS
                if (summary := summarise(list(values[metric][experiment].values())))
            },
            differences={metric: gaps[metric][experiment] for metric in METRICS if experiment in gaps[metric]},
        )
        for experiment, runs in by_experiment.items()
    ]
    missing = _missing(experiment_set, finished, results)
    return Comparison(experiment_set, tuple(rows), missing, baseline, _deviations(finished, params))


def _label(experiment_set: ExperimentSet, experiment: str) -> str:
    """`n_heads=4, n_layers=2` for an experiment of a sweep; the name of others, which says what it means."""
    overrides = next(run.overrides for run in experiment_set.runs if run.experiment == experiment)
    values = [f"{key.rpartition('.')[2]}={plain(overrides[key])}" for key in experiment_set.swept]
    return ", ".join(values) or experiment


def _missing(
    experiment_set: ExperimentSet, finished: Sequence[FinishedRun], results: Mapping[str, Result]
) -> tuple[str, ...]:
    """The runs without a result, each with its state. An experiment without any begun run is one entry."""
    names_of_finished = {run.definition.name for run in finished}
    missing = []
    for experiment in experiment_set.experiments:
        names = [run.name for run in experiment_set.runs if run.experiment == experiment]
        if not any(name in results for name in names):
            missing.append(f"{experiment_set.name}-{experiment} (not run)")
            continue
        lacking = [name for name in names if name not in names_of_finished]
        missing += [f"{name} ({_state(results.get(name), experiment_set.metric)})" for name in lacking]
    return tuple(missing)


def _state(result: Result | None, metric: str) -> str:
    """Why a run has no result."""
    return "not run" if result is None else f"has no {metric}" if result.state == "done" else result.state


def plain(value: Any) -> str:
    """A value as it is written in YAML."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _finished(run: Run, result: Result, root: Path, of_chat: bool) -> FinishedRun:
    curves = read_curves(result, root, of_chat=of_chat)
    made = {name: value for name, value in result.metrics.items() if name not in curves.not_made}
    result = replace(result, metrics=made)
    return FinishedRun(run, result, curves, broke_down(result, curves))


def _values(runs: Sequence[FinishedRun], metric: str) -> dict[int, float]:
    """The values of the runs that did not diverge, by seed."""
    return {
        run.result.parameters["seed"]: value
        for run in runs
        if not run.diverged and (value := run.value(metric)) is not None
    }


def _changes(experiment_set: ExperimentSet, experiment: str, params: Mapping[str, Any]) -> Overrides:
    """The parameters of an experiment that differ from the baseline; without a baseline, from params.yaml."""
    defaults = flatten(params)
    first = {run.experiment: defaults | run.overrides for run in reversed(experiment_set.runs)}
    reference = first.get(experiment_set.baseline or "", defaults)
    return {key: value for key, value in first[experiment].items() if key != "seed" and value != reference[key]}


def _deviations(finished: Sequence[FinishedRun], params: Mapping[str, Any]) -> dict[str, Overrides]:
    """By run: the values that differ from its definition, because of `-S` or because the definition was edited."""
    deviations = {}
    for run in finished:
        defined = flatten(run.definition.parameters(params))
        actual = run.result.parameters
        # A result of an earlier version lacks parameters that are new.
        differ = {key: actual[key] for key, value in defined.items() if key in actual and actual[key] != value}
        if different := {key: value for key, value in differ.items() if decides_results(key)}:
            deviations[run.definition.name] = different
    return deviations
