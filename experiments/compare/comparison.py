"""The experiments of a set beside each other: what they change, how they did, how far they are from the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.compare.curves import Curves, broke_down, read_curves
from experiments.compare.statistics import Difference, Summary, difference, pooled_spread, summarise
from experiments.define.definitions import ExperimentSet, Overrides, Run, flatten
from experiments.run.engine import Result

METRICS = ("bits_per_byte", "loss", "accuracy")
HIGHER_IS_BETTER = {"accuracy"}


@dataclass(frozen=True)
class Finished:
    """One run that has a result, and what it wrote."""

    run: Run
    result: Result
    curves: Curves
    diverged: bool


@dataclass(frozen=True)
class Row:
    """An experiment that has a result, over its seeds. Runs that diverged are counted, but not in the summaries."""

    experiment: str
    asks: str
    changes: Overrides  # parameters that differ from the baseline's
    finished: tuple[Finished, ...]  # at least one
    summaries: dict[str, Summary]  # by metric
    differences: dict[str, Difference]  # to the baseline, by metric; empty for the baseline itself

    @property
    def n_diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(each.diverged for each in self.finished)

    @property
    def n_parameters(self) -> int:
        """How many parameters the model has."""
        return int(self.finished[0].result.metrics["n_parameters"])

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second of training, over the runs that were timed on this machine."""
        speeds = [each.curves.tokens_per_s for each in self.finished if each.curves.tokens_per_s]
        return mean(speeds) if speeds else None


@dataclass(frozen=True)
class Comparison:
    """The rows of a set, in its order."""

    one: ExperimentSet
    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # runs without a result, each with its state
    baseline: str | None  # None where it has no result
    deviations: dict[str, Overrides]  # by run: parameters that are not as its definition has them now

    def best(self, metric: str) -> str | None:
        """The experiment with the best mean; None where all have diverged."""
        means = {row.experiment: row.summaries[metric].mean for row in self.rows if metric in row.summaries}
        pick = max if metric in HIGHER_IS_BETTER else min
        return pick(means, key=lambda name: means[name]) if means else None


def compare(one: ExperimentSet, params: Mapping[str, Any], found: Mapping[str, Result], root: Path) -> Comparison:
    """The comparison of a set, from the results that there are in the repository at `root`.

    Raises:
        ValueError: when there is none.
    """
    finished = [_finished(run, found[run.name], root) for run in one.runs if _is_done(found.get(run.name))]
    if not finished:
        raise ValueError(f"{one.name}: has no results from this commit; python -m experiments run {one.name}")
    names = list(dict.fromkeys(each.run.experiment for each in finished))
    by_experiment = {name: [each for each in finished if each.run.experiment == name] for name in names}
    values = {metric: {name: _values(runs, metric) for name, runs in by_experiment.items()} for metric in METRICS}
    baseline = one.baseline if one.baseline in names else None
    rows = [
        Row(
            experiment=name,
            asks=next(run.asks for run in one.runs if run.experiment == name),
            changes=_changes(one, name, params),
            finished=tuple(by_experiment[name]),
            summaries={metric: summary for metric in METRICS if (summary := summarise(values[metric][name]))},
            differences={
                metric: difference(
                    values[metric][name], values[metric][baseline], pooled_spread(values[metric].values())
                )
                for metric in METRICS
                if baseline not in (None, name) and values[metric][name] and values[metric][baseline]
            },
        )
        for name in names
    ]
    return Comparison(one, tuple(rows), _missing(one, finished, found), baseline, _deviations(finished, params))


def _missing(one: ExperimentSet, finished: Sequence[Finished], found: Mapping[str, Result]) -> tuple[str, ...]:
    """The runs without a result, each with its state; experiments that were never begun in one word."""
    missing = []
    for name in one.experiments:
        runs = [run for run in one.runs if run.experiment == name]
        if not any(run.name in found for run in runs):
            missing.append(f"{one.name}-{name} (not run)")
            continue
        lacking = [run.name for run in runs if run not in [each.run for each in finished]]
        missing += [f"{each} ({found[each].state if each in found else 'not run'})" for each in lacking]
    return tuple(missing)


def _is_done(result: Result | None) -> bool:
    return result is not None and result.state == "done" and "bits_per_byte" in result.metrics


def _finished(run: Run, result: Result, root: Path) -> Finished:
    curves = read_curves(result, root)
    return Finished(run, result, curves, broke_down(result, curves))


def _values(runs: Sequence[Finished], metric: str) -> list[float]:
    return [each.result.metrics[metric] for each in runs if not each.diverged]


def _changes(one: ExperimentSet, experiment: str, params: Mapping[str, Any]) -> Overrides:
    """The parameters of an experiment that differ from the baseline's; where there is none, from params.yaml."""
    defaults = flatten(params)
    first = {run.experiment: defaults | run.overrides for run in reversed(one.runs)}
    reference = first.get(one.baseline or "", defaults)
    return {key: value for key, value in first[experiment].items() if key != "seed" and value != reference[key]}


def _deviations(finished: Sequence[Finished], params: Mapping[str, Any]) -> dict[str, Overrides]:
    """Parameters that a run had and its definition does not have now: given with `-S`, or edited since."""
    deviations = {}
    for each in finished:
        wanted = flatten(each.run.parameters(params))
        had = each.result.parameters
        if different := {key: had.get(key) for key, value in wanted.items() if had.get(key) != value}:
            deviations[each.run.name] = different
    return deviations
