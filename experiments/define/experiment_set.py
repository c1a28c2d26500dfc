"""Runs of the pipeline, gathered in sets: which of them a name means, and with which overrides they run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.define.metrics import DEFAULT
from experiments.define.parameters import Overrides, did_you_mean, flatten, overridden
from lm.config.sections import check_parameters

_ABSENT = object()  # equal to no value


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: an experiment of DVC."""

    name: str  # the name of DVC's experiment
    experiment: str  # the name in the set; the same for all seeds
    seed: int | None  # None: the seed of params.yaml
    asks: str
    overrides: Overrides

    def changes(self, params: Mapping[str, Any], *others: Mapping[str, Any]) -> Overrides:
        """The values of a run from `params` that differ from `params`, or from another params.yaml in `others`."""
        values = self.overrides | {k: v for k, v in flatten(params).items() if k not in self.overrides}
        files = [flatten(file) for file in (params, *others)]
        return {key: value for key, value in values.items() if any(file.get(key, _ABSENT) != value for file in files)}

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The content of params.yaml in this run, checked.

        Raises:
            ValueError: for wrong values; one line for each mistake, which names the run.
        """
        values = overridden(params, self.overrides)
        try:
            check_parameters(values)
        except ValueError as error:
            raise ValueError("\n".join(f"{self.name}: {line}" for line in str(error).splitlines())) from None
        return values


@dataclass(frozen=True)
class ExperimentSet:
    """Runs that answer one question. A preset is a set of one run."""

    name: str
    asks: str
    hardware: str | None  # the hardware that a preset is meant for; None for a set
    runs: tuple[Run, ...]
    baseline: str | None  # the experiment that the others are compared to
    against: str | None  # the parameter or metric on the x axis of the final loss
    by: str | None  # the parameter whose values each get a line in that plot
    swept: tuple[str, ...] = ()  # the parameters whose values name the experiments; empty where they have names
    metric: str = DEFAULT  # what the experiments are compared by, one of METRICS

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments in their order, without repetition."""
        return list(dict.fromkeys(run.experiment for run in self.runs))

    def experiment_name(self, run: Run) -> str:
        """The name that stands for all seeds of a run on the command line: SET-EXPERIMENT."""
        return f"{self.name}-{run.experiment}"


class Experiments(dict[str, ExperimentSet]):
    """The presets and sets of an experiments.yaml by name. A mistake in one of them hides no other."""

    def __init__(self) -> None:
        super().__init__()
        self.mistakes: dict[str, str] = {}  # by the name of an entry that is no set: place, rule and value


def select(sets: Experiments, name: str) -> ExperimentSet:
    """The set of that name, or the part of a set that the name of a run or of an experiment (SET-EXPERIMENT) selects.

    Raises:
        ValueError: when the entry of that name has a mistake, or nothing has that name; the message then proposes the
            nearest name.
    """
    if name in sets.mistakes:
        raise ValueError(sets.mistakes[name])
    if name in sets:
        return sets[name]
    for experiment_set in sets.values():
        selected = tuple(run for run in experiment_set.runs if name in (run.name, experiment_set.experiment_name(run)))
        if selected:
            return replace(experiment_set, runs=selected)
    all_runs = [(experiment_set, run) for experiment_set in sets.values() for run in experiment_set.runs]
    known = [*sets, *sets.mistakes, *(run.name for _, run in all_runs)]
    known += [experiment_set.experiment_name(run) for experiment_set, run in all_runs]
    raise ValueError(f"{name}: no such experiment{did_you_mean(name, known)}; `python -m experiments list` shows all")


def with_overrides(experiment_set: ExperimentSet, overrides: Overrides, seeds: list[int] | None) -> ExperimentSet:
    """The same set with further overrides in every run; `seeds`, where given, replace the seeds of the set.

    Raises:
        ValueError: for an override of the seed in a set that runs with several seeds.
    """
    runs_by_seed = seeds is not None or any(run.seed is not None for run in experiment_set.runs)
    if "seed" in overrides and runs_by_seed:
        raise ValueError(
            f"seed: must be given as --seeds {overrides['seed']} for {experiment_set.name}, "
            "which runs once for each seed"
        )
    runs = [replace(run, overrides=run.overrides | overrides) for run in experiment_set.runs]
    if seeds is not None:
        first = {run.experiment: run for run in reversed(runs)}
        stems = {name: run.name.removesuffix(f"-s{run.seed}") for name, run in first.items()}
        runs = [
            Run(f"{stems[name]}-s{seed}", name, seed, run.asks, run.overrides | {"seed": seed})
            for name, run in reversed(first.items())
            for seed in seeds
        ]
    return replace(experiment_set, runs=tuple(runs))
