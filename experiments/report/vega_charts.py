"""The interactive charts of the page: their data, and their specifications in Vega-Lite."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.compare.comparison import Comparison, FinishedRun, Row
from experiments.define.metrics import METRICS
from experiments.report.style import AXES, MOST_COLOURS, colours, experiment_colours, final_range

# The keys are "title", "spec" (Vega-Lite), "shown" (the fields that a tooltip shows, with their titles), and the data:
# "rows", or "runs" by column, which the page turns into rows.
Chart = dict[str, Any]
Kind = Literal["train", "valid"]
Drawn = tuple[Row, FinishedRun, pd.DataFrame]

_POINTS = 6000  # points of all curves of a chart together; a phone can still show tooltips for so many
_CHOSEN = "length(chosen) == 0 || indexof(chosen, datum.experiment) >= 0"
_SHORT = "datum.value >= 1000 ? format(datum.value, '.3~s') : format(datum.value, '.3~g')"
_CROSS = "M-1,-1L1,1M1,-1L-1,1"
_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "axis": {"gridColor": "#e7e9ee", "domain": False, "tickColor": "#d5d9e0", "labelFontSize": 11, "titleFontSize": 12}
    | {"labelColor": "#6b7280", "titleColor": "#4b5563", "titleFontWeight": "normal"},
    "legend": {"orient": "bottom", "columns": 3, "labelFontSize": 12, "titleColor": "#4b5563"}
    | {"titleFontWeight": "normal"},
}


def curves_charts(comparison: Comparison, kind: Kind) -> dict[str, Chart]:
    """The charts of training or validation loss by name, with a line for each run; none where no run has that curve.

    It is one chart, or for more experiments than there are colours, a small one for each beside the baseline in grey.
    The page sets the x axis and the scale of the y axis.
    """
    drawn = [(row, run, table) for row, run in comparison.runs if (table := finite_curve(run, kind)) is not None]
    experiments = list(dict.fromkeys(row.experiment for row, *_ in drawn))
    if not drawn:
        return {}
    if len(experiments) <= MOST_COLOURS:
        return {
            kind: _curves_chart(comparison, drawn, drawn, {"valid": "Validation loss", "train": "Training loss"}[kind])
        }
    charts: dict[str, Chart] = {}
    for row in comparison.rows:
        if row.experiment in experiments and row.experiment != comparison.baseline:
            together = [each for each in drawn if each[0].experiment in (comparison.baseline, row.experiment)]
            charts[f"{kind}-{len(charts)}"] = _curves_chart(comparison, together, drawn, row.label)
    return charts


def _curves_chart(comparison: Comparison, drawn: Sequence[Drawn], ranging: Sequence[Drawn], title: str) -> Chart:
    """A chart of some runs, on the range of all runs in `ranging`."""
    losses = [table["loss"] for *_, table in ranging]
    low, start = min(float(loss.min()) for loss in losses), max(float(loss.iloc[0]) for loss in losses)
    # Runs that diverge may peak far above the start of all runs. Such peaks are drawn at the upper edge, so that the
    # other curves do not become flat.
    high = min(max(float(loss.max()) for loss in losses), 1.1 * start)
    shown = {"step": "step", "tokens": "tokens", "loss": "loss"}
    if any("elapsed_s" in table for *_, table in drawn):
        shown["elapsed_s"] = "seconds"
    ends = {
        "transform": [{"filter": "datum.diverged && datum.last"}],
        "mark": {"type": "point", "shape": _CROSS, "size": 60, "strokeWidth": 2},
        "encoding": {"opacity": _faded(1)},
    }
    spec = {
        "width": "container",
        "height": 320 if drawn is ranging else 160,
        "params": [{"name": "chosen", "value": []}],
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "axis": {"labelExpr": _SHORT, "tickCount": 5, "tickMinStep": 1, "grid": False},
            },
            "y": {
                "field": "loss",
                "type": "quantitative",
                "title": METRICS["loss"],
                "scale": {"domain": [0.98 * low, 1.02 * high], "clamp": True, "nice": False},
                "axis": {"tickCount": 6},
            },
            "color": _colour(comparison),
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.4, "strokeJoin": "round"},
                "encoding": {"detail": {"field": "run"}, "opacity": _faded(0.9)},
            },
            *([ends] if any(run.diverged for _, run, _ in drawn) else []),
            {"transform": [{"filter": _CHOSEN}], **_hover()},
        ],
        "config": _CONFIG,
    }
    runs = [_columns(row, run, table, n=_POINTS // len(ranging)) for row, run, table in drawn]
    return {"title": title, "spec": spec, "shown": shown, "runs": runs}


def final_charts(comparison: Comparison, metric: str) -> dict[str, Chart]:
    """The charts of the final metric against the swept value, by name; none for a set without `against`.

    It is one chart, or for more values of `by` than there are colours, a small one for each. A chart has a point for
    each run, a line through the means of the runs that did not diverge, and the scaling law if any.

    Raises:
        ValueError: when the value of `against` is no number.
    """
    against, by = comparison.experiment_set.against, comparison.experiment_set.by
    if against is None:
        return {}
    rows: list[dict[str, Any]] = []
    n_tokens: dict[str, float] = {}
    name, law = metric.replace("_", " "), comparison.scaling_law(metric)
    for row in comparison.rows:
        series = row.line_name(by) if by else ""
        place = {"experiment": row.experiment, "x": row.swept_value(against), "series": series}
        n_tokens[series] = row.runs[0].result.metrics["tokens"]
        if metric in row.summaries:
            rows.append(place | {"is": "mean", "y": row.summaries[metric].mean})
        rows += [
            place | {"is": "run", "y": value, "run": run_label(row, run), "diverged": run.diverged}
            for run in row.runs
            if (value := run.value(metric)) is not None
        ]
    if not rows:
        return {}
    if law:
        xs = [row["x"] for row in rows]
        rows += [
            {"is": "law", "series": series, "x": _short(size), "y": _short(law.law.loss(size, n))}
            for series, n in n_tokens.items()
            for size in np.geomspace(min(xs), max(xs), 30)
        ]
    shown = {"x": against, "y": name}
    spec = _final_spec(comparison, metric, sorted({row["x"] for row in rows if row["is"] == "run"}), [*n_tokens])
    if len(n_tokens) <= MOST_COLOURS:
        title = f"Final {name} by {against}"
        return {"final": {"title": title, "spec": spec, "shown": shown, "rows": rows}}
    return {
        f"final-{i}": {
            "title": f"{(by or '').rpartition('.')[2]}={series}",
            "spec": spec,
            "shown": shown,
            "rows": [row for row in rows if row["series"] == series],
        }
        for i, series in enumerate(n_tokens)
    }


def _final_spec(comparison: Comparison, metric: str, xs: Sequence[float], series: Sequence[str]) -> dict[str, Any]:
    """The specification of a chart of the final metric at the swept values `xs`, for each value of `by` in `series`."""
    by, small = comparison.experiment_set.by, len(series) > MOST_COLOURS
    scale = {"type": "log"} if xs[0] > 0 and xs[-1] >= 8 * xs[0] else {"type": "linear", "zero": False}
    colour = _colour(comparison)
    if by:
        symbols = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1}
        scale_of_colours = {"domain": [*series], "range": colours(len(series))}
        colour = {"field": "series", "title": by, "scale": scale_of_colours, "legend": None if small else symbols}
    shape = {"condition": {"test": "datum.diverged", "value": _CROSS}, "value": "circle"}
    dotted = {
        "transform": [{"filter": "datum.is == 'law'"}],
        "mark": {"type": "line", "strokeDash": [2, 3], "strokeWidth": 1.2},
        "encoding": {"color": colour},
    }
    return {
        "width": "container",
        "height": 160 if small else 320,
        "params": [{"name": "chosen", "value": []}],
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": comparison.experiment_set.against,
                "scale": scale | {"nice": False, "padding": 12, "domain": [xs[0], xs[-1]]},
                "axis": {"values": [*xs], "labelExpr": _SHORT, "labelOverlap": True} | {"grid": False},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": METRICS[metric],
                "scale": {"domain": list(final_range(comparison.rows, metric)), "clamp": True, "nice": False},
                "axis": {"tickCount": 6},
            },
        },
        "layer": [
            *([dotted] if comparison.scaling_law(metric) else []),
            {
                "transform": [{"filter": "datum.is == 'mean'"}],
                "mark": {"type": "line", "strokeWidth": 1.4} | ({} if by else {"color": "#9ca3af"}),
                "encoding": {"color": colour} if by else {},
            },
            {
                "transform": [{"filter": "datum.is == 'run'"}],
                "mark": {"type": "point", "size": 45, "strokeWidth": 2},
                "encoding": {"color": colour, "opacity": _faded(0.9), "shape": shape},
            },
            {"transform": [{"filter": f"datum.is == 'run' && ({_CHOSEN})"}], **_hover()},
        ],
        "config": _CONFIG,
    }


def finite_curve(run: FinishedRun, kind: Kind) -> pd.DataFrame | None:
    """The rows of a curve whose loss is finite; None where there are none."""
    table = run.curves.train if kind == "train" else run.curves.valid
    if table is None or table.empty:  # a file without rows has columns without a numeric type
        return None
    table = table[np.isfinite(table["loss"])]
    return None if table.empty else table


def run_label(row: Row, run: FinishedRun) -> str:
    """A run in words: `no-norm, seed 1, diverged`."""
    seed = run.result.parameters.get("seed", run.definition.seed)
    return row.label + (f", seed {seed}" if seed is not None else "") + (", diverged" if run.diverged else "")


def _columns(row: Row, run: FinishedRun, table: pd.DataFrame, n: int) -> dict[str, Any]:
    """A curve by column: about `n` of its points, evenly spaced, always with the last one."""
    thinned = table.iloc[:: -max(1, len(table) // n)][::-1]
    columns = {name: [_short(value) for value in thinned[name]] for name in (*AXES, "loss") if name in thinned}
    return {"experiment": row.experiment, "run": run_label(row, run), "diverged": run.diverged, "columns": columns}


def _short(value: float) -> float | None:
    """A value rounded to five digits, which halves the file; whole numbers stay exact. None for NaN and infinity,
    because JSON has no such numbers.
    """
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.5g}")


def _colour(comparison: Comparison) -> dict[str, Any]:
    """The colour of an experiment, without a legend, because the page has one legend for all of its charts."""
    colour_of = experiment_colours(comparison)
    return {
        "field": "experiment",
        "legend": None,
        "scale": {"domain": list(colour_of), "range": list(colour_of.values())},
    }


def _faded(opacity: float) -> dict[str, Any]:
    """The opacity of the chosen experiments, or of all while none is chosen; the others are nearly transparent."""
    return {"condition": {"test": _CHOSEN, "value": opacity}, "value": 0.08}


def _hover() -> dict[str, Any]:
    """A layer that marks the point nearest to the pointer; the page writes its tooltip.

    The tooltips of Vega-Lite cannot show the text fields of the nearest point.
    """
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    opacity = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
    return {
        "params": [{"name": "hover", "select": select}],
        "mark": {"type": "circle", "size": 60, "tooltip": {"content": "data"}},
        "encoding": {"opacity": opacity},
    }
