"""Means over seeds, and differences between experiments with their standard errors."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True)
class Summary:
    """A metric over the seeds of one experiment."""

    mean: float
    spread: float | None  # standard deviation over seeds; None for a single seed
    n: int


@dataclass(frozen=True)
class Difference:
    """The difference between the means of two experiments."""

    value: float
    standard_error: float | None  # None where no experiment has two seeds


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of an experiment from its values, one for each seed; None without values."""
    if not values:
        return None
    return Summary(mean(values), stdev(values) if len(values) > 1 else None, len(values))


def pooled_spread(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation between seeds, estimated from all experiments together; None where none has two seeds.

    Two or three seeds give a poor estimate of the deviation of one experiment. All experiments together have enough
    degrees of freedom. This assumes, as the analysis of variance does, that all experiments have the same deviation.
    """
    filled = [values for values in groups if values]
    degrees = sum(len(values) - 1 for values in filled)
    if degrees == 0:
        return None
    squares = sum((value - mean(values)) ** 2 for values in filled for value in values)
    return math.sqrt(squares / degrees)


def difference(values: Sequence[float], baseline: Sequence[float], spread: float | None) -> Difference:
    """The mean of `values` minus that of `baseline`.

    Its standard error is spread * sqrt(1/n + 1/m) for n and m seeds.
    """
    error = None if spread is None else spread * math.sqrt(1 / len(values) + 1 / len(baseline))
    return Difference(mean(values) - mean(baseline), error)
