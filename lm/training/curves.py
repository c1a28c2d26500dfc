"""The curves of a run: a row for each step, a row for each validation, and the means that a picture shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lm.formats.columns import read_columns, write_columns


@dataclass(frozen=True)
class StepRow:
    """What one step measured, in nats a token. A step that was left out has NaN as loss, accuracy and norm."""

    step: int
    tokens: int
    loss: float
    accuracy: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True)
class ValidRow:
    """A row of the validation curve."""

    step: int
    tokens: int
    loss: float
    accuracy: float


Row = TypeVar("Row", StepRow, ValidRow)


def to_columns(kind: type[Row], rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """The rows as one array for each field. `from_columns` is the reverse."""
    return {
        field.name: np.array([getattr(row, field.name) for row in rows], dtype=field.type) for field in fields(kind)
    }


def from_columns(kind: type[Row], columns: Mapping[str, NDArray[Any]]) -> list[Row]:
    """The rows that `to_columns` has turned into arrays."""
    names = [field.name for field in fields(kind)]
    values = zip(*(columns[name].tolist() for name in names), strict=True)
    return [kind(**dict(zip(names, each, strict=True))) for each in values]


def write_rows(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    """Write rows as CSV, one column for each field."""
    write_columns(path, to_columns(kind, rows))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows in a file that `write_rows` wrote, with exactly the same numbers."""
    columns = read_columns(path)
    return from_columns(kind, {field.name: columns[field.name].astype(field.type) for field in fields(kind)})


def thinned(rows: Sequence[StepRow], every: int) -> list[StepRow]:
    """One row for each `every` steps: the means of loss and accuracy, and the other values of the last step.

    For loss, accuracy and norm, steps that were left out do not count. If all of them were left out, there is no row.
    """
    means = []
    for _, group in groupby(rows, key=lambda row: (row.step - 1) // every):
        steps = list(group)
        if taken := [row for row in steps if not math.isnan(row.loss)]:
            # Summed in the order of the steps, so that every machine gets the same bits.
            loss = sum(row.loss for row in taken) / len(taken)
            accuracy = sum(row.accuracy for row in taken) / len(taken)
            means.append(replace(steps[-1], loss=loss, accuracy=accuracy, gradient_norm=taken[-1].gradient_norm))
    return means
