"""Plots of a comparison as PNG: loss by steps, tokens and time; the final metric by the swept value."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.compare.comparison import Comparison, FinishedRun, Row
from experiments.define.metrics import METRICS
from experiments.report.style import (
    AXES,
    BASELINE,
    MOST_COLOURS,
    ONE_OF_MANY,
    colours,
    experiment_colours,
    final_range,
)
from lm.analysis.figure import dress, log_axis, log_ticks, name_ends, new_figure, plain_axis, save_figure, set_ticks


def draw_plots(comparison: Comparison, metric: str, folder: Path) -> list[Path]:
    """The paths of the plots written into a folder, `SET-loss-by-step.png` and so on, as far as there are results."""
    written = []
    for column, label in AXES.items():
        rows = [row for row in comparison.rows if any(_has(run, column) for run in row.runs)]
        if rows:
            written.append(folder / f"{comparison.experiment_set.name}-loss-by-{column.removesuffix('_s')}.png")
            draw = _draw_curves if len(rows) <= MOST_COLOURS else _draw_small_curves
            save_figure(draw(comparison, rows, column, label), written[-1])
    if comparison.experiment_set.against:
        written.append(folder / f"{comparison.experiment_set.name}-final.png")
        save_figure(_draw_final(comparison, metric), written[-1])
    return written


def _has(run: FinishedRun, column: str) -> bool:
    valid = run.curves.valid
    if valid is None or valid.empty or column not in valid:  # the columns of an empty table have no numeric type
        return False
    return bool(np.isfinite(valid["loss"]).any())


def _draw_curves(comparison: Comparison, rows: Sequence[Row], column: str, label: str) -> Figure:
    """Validation loss: a line for each run in the colour of its experiment, with its name at the end."""
    figure, axes = new_figure(f"{comparison.experiment_set.name}: validation loss", label, METRICS["loss"])
    colour_of = experiment_colours(comparison)
    names = []
    for row in rows:
        end = _draw_runs(axes, row, column, colour_of[row.experiment])
        names.append((end, row.label + (" (diverged)" if row.n_diverged else ""), colour_of[row.experiment]))
    _fit(axes, rows, column)
    name_ends(axes, names)
    return figure


def _draw_small_curves(comparison: Comparison, rows: Sequence[Row], column: str, label: str) -> Figure:
    """A small picture for each experiment, beside the baseline in grey: so many colours nobody can tell apart."""
    baseline = next((row for row in rows if row.experiment == comparison.baseline), None)
    panels = [row for row in rows if row is not baseline]
    figure, grid = _grid(len(panels))
    figure.suptitle(
        f"{comparison.experiment_set.name}: validation loss" + (f" (grey: {baseline.label})" if baseline else ""),
        x=0.01,
        ha="left",
    )
    figure.supxlabel(label)
    figure.supylabel(METRICS["loss"])
    for axes, row in zip(grid, panels, strict=True):
        if baseline:
            _draw_runs(axes, baseline, column, BASELINE)
        _draw_runs(axes, row, column, ONE_OF_MANY)
        axes.set_title(row.label + (" (diverged)" if row.n_diverged else ""), loc="left", fontsize="medium")
    for axes in grid:
        _fit(axes, rows, column)
    return figure


def _grid(n: int) -> tuple[Figure, list[Axes]]:
    """`n` small axes of equal ranges, three in a row."""
    n_rows = math.ceil(n / 3)
    figure = Figure(figsize=(10, 2.3 * n_rows + 0.6), layout="constrained")
    grid = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False)
    for unused in grid.flat[n:]:
        unused.set_visible(False)
    for axes in grid.flat[:n]:
        dress(axes)
    for axes in grid.flat[max(0, n - 3) : n]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:n])


def _draw_runs(axes: Axes, row: Row, column: str, colour: str) -> float:
    """Draw a line for each run, with a cross where it diverged. The result is the last loss of the first line."""
    ends = []
    for run in row.runs:
        if not _has(run, column):
            continue
        assert run.curves.valid is not None
        valid = run.curves.valid[np.isfinite(run.curves.valid["loss"])]
        axes.plot(valid[column], valid["loss"], color=colour, linewidth=1.1)
        ends.append(float(valid["loss"].iloc[-1]))
        if run.diverged:
            axes.plot(valid[column].iloc[-1:], ends[-1:], color=colour, marker="x", markersize=7)
    return ends[0]


def _fit(axes: Axes, rows: Sequence[Row], column: str) -> None:
    """Write the numbers at the axes. Peaks far above the start of all curves are cut off."""
    tables = [run.curves.valid for row in rows for run in row.runs if _has(run, column)]
    losses = [table["loss"][np.isfinite(table["loss"])] for table in tables if table is not None]
    start, low = max(float(loss.iloc[0]) for loss in losses), min(float(loss.min()) for loss in losses)
    high = min(max(float(loss.max()) for loss in losses), 1.1 * start)
    axes.set_yscale("log")
    axes.set_ylim(0.97 * low, 1.03 * high)
    set_ticks(axes, "y", log_ticks(0.97 * low, 1.03 * high))
    plain_axis(axes, "x", whole=column != "elapsed_s")


def _draw_final(comparison: Comparison, metric: str) -> Figure:
    """The final metric against the swept value: a point for each run, and a line through the means.

    Runs far from the others are drawn at the edge. More lines than eight get a small picture each.
    """
    against, by = comparison.experiment_set.against, comparison.experiment_set.by
    assert against is not None
    lines: dict[str, list[Row]] = {}
    for row in comparison.rows:
        lines.setdefault(f"{by.rpartition('.')[2]}={row.line_name(by)}" if by else "", []).append(row)
    law = comparison.scaling_law(metric)
    title = f"{comparison.experiment_set.name}: {METRICS[metric]}" + (f"\ndotted: {law.law}" if law else "")
    if len(lines) > MOST_COLOURS:
        figure, grid = _grid(len(lines))
        figure.suptitle(title, x=0.01, ha="left")
        figure.supxlabel(against)
        for axes, name in zip(grid, lines, strict=True):
            axes.set_title(name, loc="left", fontsize="medium")
    else:
        figure, axes = new_figure(title, against, METRICS[metric])
        grid = [axes] * len(lines)
    names = []
    for axes, (name, rows), colour in zip(grid, lines.items(), colours(len(lines)), strict=True):
        names.append((_draw_line(comparison, metric, axes, rows, colour), name, colour))
    for axes in dict.fromkeys(grid):
        axes.set_ylim(final_range(comparison.rows, metric))
        _fit_swept(axes, sorted({row.swept_value(against) for row in comparison.rows}))
        plain_axis(axes, "y")
    if by and len(lines) <= MOST_COLOURS:
        name_ends(grid[0], names)
    return figure


def _draw_line(comparison: Comparison, metric: str, axes: Axes, rows: Sequence[Row], colour: str) -> float:
    """Draw the runs, their means and the scaling law for one value of `by`. The result is the height of the end."""
    against = comparison.experiment_set.against or ""
    low, high = final_range(comparison.rows, metric)
    means = sorted((row.swept_value(against), row.summaries[metric].mean) for row in rows if metric in row.summaries)
    axes.plot([x for x, _ in means], [y for _, y in means], color=colour)
    for row in rows:
        for run in row.runs:
            if (value := run.value(metric)) is not None:
                marker, height = "x" if run.diverged else "o", min(max(value, low), high)
                axes.plot(row.swept_value(against), height, color=colour, marker=marker, markersize=4, clip_on=False)
    if law := comparison.scaling_law(metric):
        values = [row.swept_value(against) for row in comparison.rows]
        sizes, n_tokens = np.geomspace(min(values), max(values), 50), rows[0].runs[0].result.metrics["tokens"]
        axes.plot(sizes, [law.law.loss(n, n_tokens) for n in sizes], color=colour, linestyle=":", linewidth=1)
    return means[-1][1] if means else math.nan


def _fit_swept(axes: Axes, values: Sequence[float]) -> None:
    """Put the swept values at the x axis, as many of them as have room; a logarithmic axis if they grow by factors."""
    logarithmic = values[0] > 0 and values[-1] >= 8 * values[0]
    if logarithmic:
        log_axis(axes, "x")
    places = [math.log(value) for value in values] if logarithmic else list(values)
    room = 0.08 * (places[-1] - places[0])
    shown: list[float] = []
    last = -math.inf
    for value, place in zip(values, places, strict=True):
        if place - last >= room or not shown:
            shown.append(value)
            last = place
    set_ticks(axes, "x", shown)
