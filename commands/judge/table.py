"""The mean grades as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm.analysis.stories.grades import QUALITIES


def as_table(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each group, with standard errors; then the differences to the first group; then what is missing."""
    rows = [[group, f"{one['n_graded']}", *map(_cell(one), QUALITIES)] for group, one in measures.items()]
    for group, one in measures.items():
        if difference := one.get("difference"):
            rows.append([f"{group}, less the first", "", *map(_cell(difference, sign="+"), QUALITIES)])
    return "\n".join([*_aligned([["", "graded", *QUALITIES], *rows]), *_missing(measures)])


def _cell(values: Mapping[str, Any], sign: str = "") -> Any:
    def cell(name: str) -> str:
        value, error = values[name], values[f"{name}_standard_error"]
        if value is None:
            return "–"
        return f"{value:{sign}.2f}" + ("" if error is None else f" ± {error:.2f}")

    return cell


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _missing(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for group, one in measures.items():
        counts = {
            "cut off before their end": one["n_cut_off"],
            "answers without readable grades": one["n_unreadable"],
            "failed questions": one["n_failed"],
        }
        if any(counts.values()):
            parts = [f"{what}: {count}" for what, count in counts.items() if count]
            lines.append("; ".join([f"{group}: stories: {one['n_stories']}", *parts]))
    return lines
