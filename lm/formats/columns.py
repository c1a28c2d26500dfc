"""Tables of few columns as CSV files: a line of names, then a line for each row."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.system.files import replacing

Columns = Mapping[str, NDArray[Any]]  # by name, all of one length


def write_columns(path: Path, columns: Columns) -> None:
    """Write columns. A number has the digits that give the same number again; NaN is an empty cell."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(zip(*(map(_cell, column.tolist()) for column in columns.values()), strict=True))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of numbers that `write_columns` wrote: int64 where each cell is a whole number, otherwise float64."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return {name: _numbers([row[i] for row in rows]) for i, name in enumerate(names)}


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _numbers(cells: list[str]) -> NDArray[Any]:
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except ValueError:
        return np.array([float(cell or "nan") for cell in cells])
