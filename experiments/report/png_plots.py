"""Plots of a comparison as PNG: loss by steps, tokens and time; the final metric by the swept value."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogFormatter

from experiments.compare.comparison import Comparison, FinishedRun, Row
from experiments.report.style import AXES, METRIC_NAMES, colours, experiment_colours
from lm.analysis.figure import new_figure, save_figure


def draw_plots(comparison: Comparison, metric: str, folder: Path) -> list[Path]:
    """The paths of the plots written into a folder, `SET-loss-by-step.png` and so on, as far as there are results."""
    written = []
    for column, label in AXES.items():
        if any(_has(run, column) for _, run in comparison.runs):
            written.append(folder / f"{comparison.experiment_set.name}-loss-by-{column.removesuffix('_s')}.png")
            _draw_curves(comparison, column, label, written[-1])
    if comparison.experiment_set.against:
        written.append(folder / f"{comparison.experiment_set.name}-final.png")
        _draw_final(comparison, metric, written[-1])
    return written


def _has(run: FinishedRun, column: str) -> bool:
    valid = run.curves.valid
    return valid is not None and column in valid and len(valid) > 0


def _draw_curves(comparison: Comparison, column: str, label: str, path: Path) -> None:
    """Validation loss: a line for each run in the colour of its experiment, and a cross where a run diverged."""
    figure, axes = new_figure(f"{comparison.experiment_set.name}: validation loss", label, "nats per token")
    losses = []
    colour_of = experiment_colours(comparison)
    for row in comparison.rows:
        colour = colour_of[row.experiment]
        drawn = [run for run in row.runs if _has(run, column)]
        for run in drawn:
            valid = run.curves.valid
            assert valid is not None
            losses.append(valid["loss"])
            name = row.experiment + (" (diverged)" if row.n_diverged else "")
            axes.plot(
                valid[column], valid["loss"], color=colour, linewidth=1.1, label=name if run is drawn[0] else None
            )
            if run.diverged:
                axes.plot(valid[column].iloc[-1:], valid["loss"].iloc[-1:], color=colour, marker="x", markersize=7)
    _fit_losses(axes, losses)
    if column != "step":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(frameon=False, fontsize="small", ncols=2)
    save_figure(figure, path)


def _fit_losses(axes: Axes, losses: Sequence["pd.Series[float]"]) -> None:
    """Limit the y axis so that peaks far above the start of all curves are cut off."""
    axes.set_yscale("log")
    start = max(loss.iloc[0] for loss in losses)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.1 * start))
    axes.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False))
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))


def _draw_final(comparison: Comparison, metric: str, path: Path) -> None:
    """The final metric against the swept value: a point for each run, and a line through the means."""
    against, by = comparison.experiment_set.against, comparison.experiment_set.by
    assert against is not None
    figure, axes = new_figure(
        f"{comparison.experiment_set.name}: {METRIC_NAMES[metric]}", against, METRIC_NAMES[metric]
    )
    lines: dict[str, list[Row]] = {}
    for row in comparison.rows:
        lines.setdefault(row.line_name(by) if by else "", []).append(row)
    for (name, rows), colour in zip(lines.items(), colours(len(lines)), strict=True):
        means = sorted(
            (row.swept_value(against), row.summaries[metric].mean) for row in rows if metric in row.summaries
        )
        axes.plot([x for x, _ in means], [y for _, y in means], color=colour, label=f"{by} = {name}")
        for row in rows:
            for run in row.runs:
                if (value := run.value(metric)) is not None:
                    marker = "x" if run.diverged else "o"
                    axes.plot(row.swept_value(against), value, color=colour, marker=marker, markersize=4)
    values = [row.swept_value(against) for row in comparison.rows]
    if min(values) > 0 and max(values) >= 8 * min(values):
        axes.set_xscale("log")
    if law := comparison.scaling_law(metric):
        sizes = np.geomspace(min(values), max(values), 50)
        for rows, colour in zip(lines.values(), colours(len(lines)), strict=True):
            n_tokens = rows[0].runs[0].result.metrics["tokens"]
            axes.plot(sizes, [law.law.loss(n, n_tokens) for n in sizes], color=colour, linestyle=":", linewidth=1)
        axes.plot([], [], color="black", linestyle=":", linewidth=1, label=f"{law.law}")
    if by:
        axes.legend(frameon=False, fontsize="small")
    save_figure(figure, path)
