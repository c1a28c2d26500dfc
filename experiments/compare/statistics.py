"""Means over seeds, and differences between experiments with how likely they are by luck."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from experiments.compare.student import holm, p_value

BySeed = Mapping[int, float]  # the values of one experiment


@dataclass(frozen=True)
class Summary:
    """A metric over the seeds of one experiment."""

    mean: float
    spread: float | None  # standard deviation over seeds; None for a single seed
    n: int


@dataclass(frozen=True)
class Difference:
    """The difference between two experiments. Error and p are None where there are too few seeds to know them."""

    value: float
    standard_error: float | None
    degrees: int  # degrees of freedom of the standard error
    p: float | None  # how likely so large a difference is by luck, corrected for all comparisons of the set


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of an experiment from its values, one for each seed; None without values."""
    if not values:
        return None
    return Summary(mean(values), stdev(values) if len(values) > 1 else None, len(values))


def differences(experiments: Mapping[str, BySeed], baseline: str) -> dict[str, Difference]:
    """The difference of each other experiment to the baseline, by name; without those that have no value.

    Runs with one seed see the same batches, so a part of their noise is the same. For this reason two experiments with
    at least two seeds in common are compared on these seeds alone, seed by seed. Others are compared by their means.
    """
    reference = experiments[baseline]
    measured = {
        name: _paired(experiments, name, baseline) or _unpaired(values, reference)
        for name, values in experiments.items()
        if name != baseline and values and reference
    }
    errors = {name: found.standard_error for name, found in measured.items()}
    uncorrected = {
        name: p_value(_ratio(measured[name].value, error), measured[name].degrees)
        for name, error in errors.items()
        if error is not None
    }
    corrected = holm(uncorrected)
    return {
        name: Difference(found.value, found.standard_error, found.degrees, corrected.get(name))
        for name, found in measured.items()
    }


def _paired(experiments: Mapping[str, BySeed], name: str, baseline: str) -> Difference | None:
    """The mean difference over the seeds that both have; None where these are fewer than two.

    The noise is estimated from all experiments that have these seeds: it is what remains of their values without the
    mean of the experiment and the mean of the seed. This is the analysis of variance in two ways, and with two
    experiments it is the paired t-test. It assumes that all of these experiments have the same noise.
    """
    seeds = sorted(experiments[name].keys() & experiments[baseline].keys())
    if len(seeds) < 2:
        return None
    complete = [[values[seed] for seed in seeds] for values in experiments.values() if values.keys() >= set(seeds)]
    table = np.array(complete)  # (experiments, seeds)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    degrees = (table.shape[0] - 1) * (len(seeds) - 1)
    error = math.sqrt(float((rest**2).sum()) / degrees * 2 / len(seeds))
    value = mean(experiments[name][seed] - experiments[baseline][seed] for seed in seeds)
    return Difference(value, error, degrees, None)


def _unpaired(values: BySeed, reference: BySeed) -> Difference:
    """The difference of the means, with the standard error of Student's test for two samples, if it has one."""
    samples = [list(values.values()), list(reference.values())]
    value = mean(samples[0]) - mean(samples[1])
    degrees = sum(map(len, samples)) - 2
    if degrees == 0:
        return Difference(value, None, 0, None)
    squares = sum((x - mean(sample)) ** 2 for sample in samples for x in sample)
    error = math.sqrt(squares / degrees * sum(1 / len(sample) for sample in samples))
    return Difference(value, error, degrees, None)


def _ratio(value: float, error: float) -> float:
    if error == 0:
        return 0.0 if value == 0 else math.inf
    return value / error
