"""Means over seeds, and differences between experiments with their standard error."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True)
class Summary:
    """A figure over the seeds of one experiment."""

    mean: float
    spread: float | None  # standard deviation over seeds; None for a single one
    n: int


@dataclass(frozen=True)
class Difference:
    """How far the mean of one experiment lies from another's."""

    value: float
    standard_error: float | None  # None where no experiment has two seeds


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of an experiment's values, one a seed; None without any."""
    if not values:
        return None
    return Summary(mean(values), stdev(values) if len(values) > 1 else None, len(values))


def pooled_spread(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation between seeds, estimated from all experiments together; None where none has two seeds.

    With two or three seeds the deviation of a single experiment is little more than a guess. Together they have enough
    degrees of freedom, under the assumption of the analysis of variance that all have the same deviation.
    """
    filled = [values for values in groups if values]
    degrees = sum(len(values) - 1 for values in filled)
    if degrees == 0:
        return None
    squares = sum((value - mean(values)) ** 2 for values in filled for value in values)
    return math.sqrt(squares / degrees)


def difference(one: Sequence[float], baseline: Sequence[float], spread: float | None) -> Difference:
    """The difference of two means; its standard error is spread * sqrt(1/n + 1/m), for n and m seeds."""
    error = None if spread is None else spread * math.sqrt(1 / len(one) + 1 / len(baseline))
    return Difference(mean(one) - mean(baseline), error)
