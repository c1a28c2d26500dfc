"""Overlay plots of a comparison as PNG: loss by steps, tokens and time; the final figure by the swept value."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogFormatter

from experiments.compare.comparison import Comparison, Finished, Row
from experiments.compare.scaling import law_of
from lm.analysis.pictures import new_figure, save_figure

AXES = {"step": "steps", "tokens": "tokens seen", "elapsed_s": "seconds of training"}
_NAMES = {"bits_per_byte": "bits per byte", "loss": "nats per token", "accuracy": "token accuracy"}


def draw(comparison: Comparison, metric: str, folder: Path) -> list[Path]:
    """The pictures that the results allow, written into a folder: `loss-by-step.png` and so on."""
    written = []
    for column, label in AXES.items():
        if any(_has(each, column) for row in comparison.rows for each in row.finished):
            written.append(folder / f"{comparison.one.name}-loss-by-{column.removesuffix('_s')}.png")
            _draw_curves(comparison, column, label, written[-1])
    if comparison.one.against:
        written.append(folder / f"{comparison.one.name}-final.png")
        _draw_final(comparison, metric, written[-1])
    return written


def colours(n: int) -> list[str]:
    """As many colours as there are lines, far apart while they are few."""
    names = ["tab10", "tab20"][n > 10]
    return [mpl.colors.to_hex(mpl.colormaps[names](i % (10 if n <= 10 else 20))) for i in range(n)]


def _has(each: Finished, column: str) -> bool:
    valid = each.curves.valid
    return valid is not None and column in valid and len(valid) > 0


def _draw_curves(comparison: Comparison, column: str, label: str, path: Path) -> None:
    """Validation loss: a line for each run, the colour for the experiment, a cross where a run diverged."""
    figure, axes = new_figure(f"{comparison.one.name}: validation loss", label, "nats per token")
    losses = []
    for row, colour in zip(comparison.rows, colours(len(comparison.rows)), strict=True):
        drawn = [each for each in row.finished if _has(each, column)]
        for each in drawn:
            valid = each.curves.valid
            assert valid is not None
            losses.append(valid["loss"])
            name = row.experiment + (" (diverged)" if row.n_diverged else "")
            axes.plot(
                valid[column], valid["loss"], color=colour, linewidth=1.1, label=name if each is drawn[0] else None
            )
            if each.diverged:
                axes.plot(valid[column].iloc[-1:], valid["loss"].iloc[-1:], color=colour, marker="x", markersize=7)
    _fit_losses(axes, losses)
    if column != "step":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(frameon=False, fontsize="small", ncols=2)
    save_figure(figure, path)


def _fit_losses(axes: Axes, losses: Sequence["pd.Series[float]"]) -> None:
    """Show all of the curves but peaks far above where any of them starts."""
    axes.set_yscale("log")
    start = max(loss.iloc[0] for loss in losses)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.1 * start))
    axes.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False))
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))


def _draw_final(comparison: Comparison, metric: str, path: Path) -> None:
    """The final figure against the swept value: a point for each run, a line through the means."""
    against, by = comparison.one.against, comparison.one.by
    assert against is not None
    figure, axes = new_figure(f"{comparison.one.name}: {_NAMES[metric]}", against, _NAMES[metric])
    lines: dict[str, list[Row]] = {}
    for row in comparison.rows:
        lines.setdefault(line_of(row, by) if by else "", []).append(row)
    for (name, rows), colour in zip(lines.items(), colours(len(lines)), strict=True):
        means = sorted(
            (swept_value(row, against), row.summaries[metric].mean) for row in rows if metric in row.summaries
        )
        axes.plot([x for x, _ in means], [y for _, y in means], color=colour, label=f"{by} = {name}")
        for row in rows:
            for each in row.finished:
                marker = "x" if each.diverged else "o"
                axes.plot(
                    swept_value(row, against), each.result.metrics[metric], color=colour, marker=marker, markersize=4
                )
    values = [swept_value(row, against) for row in comparison.rows]
    if min(values) > 0 and max(values) >= 8 * min(values):
        axes.set_xscale("log")
    if law := law_of(comparison, metric):
        sizes = np.geomspace(min(values), max(values), 50)
        for rows, colour in zip(lines.values(), colours(len(lines)), strict=True):
            n_tokens = rows[0].finished[0].result.metrics["tokens"]
            axes.plot(sizes, [law.loss(n, n_tokens) for n in sizes], color=colour, linestyle=":", linewidth=1)
        axes.plot([], [], color="black", linestyle=":", linewidth=1, label=f"{law}")
    if by:
        axes.legend(frameon=False, fontsize="small")
    save_figure(figure, path)


def line_of(row: Row, by: str) -> str:
    """The value that tells the line of an experiment from others, in words."""
    value = row.finished[0].result.parameters.get(by)
    return f"{value:,.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def swept_value(row: Row, name: str) -> float:
    """The value of a parameter or metric in an experiment."""
    result = row.finished[0].result
    value = result.parameters.get(name, result.metrics.get(name))
    if not isinstance(value, int | float):
        raise ValueError(f"against: must be a parameter or metric that is a number, got {name}={value!r}")
    return float(value)
