"""The charts of a report: their data, and their specifications in Vega-Lite."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.compare.comparison import Comparison, Finished, Row
from experiments.compare.scaling import law_of
from experiments.report.pictures import AXES, colours, line_of, swept_value

# "title", "spec", the fields "shown" of a point, and its data: "runs" by column for the page to unfold, or plain "rows"
Chart = dict[str, Any]
Kind = Literal["train", "valid"]

_POINTS = 6000  # of one chart in all: a phone can still follow a finger over them
_CHOSEN = "length(chosen) == 0 || indexof(chosen, datum.experiment) >= 0"
_SHORT = "datum.value >= 1000 ? format(datum.value, '.3~s') : format(datum.value, '.3~g')"
_CROSS = "M-1,-1L1,1M1,-1L-1,1"
_TITLES = {"bits_per_byte": "bits per byte", "loss": "nats per token", "accuracy": "token accuracy"}
_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "axis": {"gridColor": "#e7e9ee", "domain": False, "tickColor": "#d5d9e0", "labelFontSize": 11, "titleFontSize": 12}
    | {"labelColor": "#6b7280", "titleColor": "#4b5563", "titleFontWeight": "normal"},
    "legend": {"orient": "bottom", "columns": 3, "labelFontSize": 12, "titleColor": "#4b5563"}
    | {"titleFontWeight": "normal"},
}


def experiment_colours(comparison: Comparison) -> dict[str, str]:
    """The colour of each experiment, the same in all charts and pictures."""
    return {row.experiment: colour for row, colour in zip(comparison.rows, colours(len(comparison.rows)), strict=True)}


def curves(comparison: Comparison, kind: Kind) -> Chart | None:
    """The chart of training or validation loss, a line for each run; None where no run has that curve here.

    The page chooses the x axis, and the scale of the y axis.
    """
    found = [(row, each, table) for row, each in every_run(comparison) if (table := curve(each, kind)) is not None]
    if not found:
        return None
    losses = [table["loss"] for *_, table in found]
    low, start = min(float(loss.min()) for loss in losses), max(float(loss.iloc[0]) for loss in losses)
    # Peaks far above where any run starts, of runs that diverge, stay at the upper edge and leave the rest its room.
    high = min(max(float(loss.max()) for loss in losses), 1.1 * start)
    shown = {"step": "step", "tokens": "tokens", "loss": "loss"}
    if any("elapsed_s" in table for *_, table in found):
        shown["elapsed_s"] = "seconds"
    ends = {
        "transform": [{"filter": "datum.diverged && datum.last"}],
        "mark": {"type": "point", "shape": _CROSS, "size": 60, "strokeWidth": 2},
        "encoding": {"opacity": _faded(1)},
    }
    spec = {
        "width": "container",
        "height": 320,
        "params": [{"name": "chosen", "value": []}],
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "axis": {"labelExpr": _SHORT, "tickCount": 5, "grid": False},
            },
            "y": {
                "field": "loss",
                "type": "quantitative",
                "title": _TITLES["loss"],
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
            *([ends] if any(each.diverged for _, each, _ in found) else []),
            {"transform": [{"filter": _CHOSEN}], **_hover()},
        ],
        "config": _CONFIG,
    }
    title = {"valid": "Validation loss", "train": "Training loss"}[kind]
    runs = [_columns(*one, n=_POINTS // len(found)) for one in found]
    return {"title": title, "spec": spec, "shown": shown, "runs": runs}


def final(comparison: Comparison, metric: str) -> Chart | None:
    """The chart of the final figure against the swept value; None for a set that names none.

    A point for each run, a line through the means of those that did not diverge; the scaling law where there is one.

    Raises:
        ValueError: when the set is drawn against something that is no number.
    """
    against, by = comparison.one.against, comparison.one.by
    if against is None:
        return None
    rows: list[dict[str, Any]] = []
    n_tokens: dict[str, float] = {}
    name, law = metric.replace("_", " "), law_of(comparison, metric)
    for row in comparison.rows:
        series = line_of(row, by) if by else ""
        place = {"experiment": row.experiment, "x": swept_value(row, against), "series": series}
        n_tokens[series] = row.finished[0].result.metrics["tokens"]
        if metric in row.summaries:
            rows.append(place | {"is": "mean", "y": row.summaries[metric].mean})
        for each in row.finished:
            value = {"y": each.result.metrics[metric], "run": label(row, each), "diverged": each.diverged}
            if math.isfinite(value["y"]):
                rows.append(place | value | {"is": "run"})
    if not rows:
        return None
    xs = [row["x"] for row in rows]
    if law:
        rows += [
            {"is": "law", "series": series, "x": _short(size), "y": _short(law.loss(size, n))}
            for series, n in n_tokens.items()
            for size in np.geomspace(min(xs), max(xs), 30)
        ]
    scale = {"type": "log"} if min(xs) > 0 and max(xs) >= 8 * min(xs) else {"type": "linear", "zero": False}
    colour = _colour(comparison)
    if by:
        symbols = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1}
        known = {"domain": [*n_tokens], "range": colours(len(n_tokens))}
        colour = {"field": "series", "title": by, "scale": known, "legend": symbols}
    shape = {"condition": {"test": "datum.diverged", "value": _CROSS}, "value": "circle"}
    dotted = {
        "transform": [{"filter": "datum.is == 'law'"}],
        "mark": {"type": "line", "strokeDash": [2, 3], "strokeWidth": 1.2},
        "encoding": {"color": colour},
    }
    spec = {
        "width": "container",
        "height": 320,
        "params": [{"name": "chosen", "value": []}],
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": against,
                "scale": scale | {"nice": False, "padding": 12},
                "axis": {"values": sorted(set(xs)), "labelExpr": _SHORT, "labelOverlap": True} | {"grid": False},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": _TITLES[metric],
                "scale": {"domain": _range(comparison.rows, metric), "clamp": True, "nice": False},
                "axis": {"tickCount": 6},
            },
        },
        "layer": [
            *([dotted] if law else []),
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
    shown = {"x": against, "y": name}
    return {"title": f"Final {name} by {against}", "spec": spec, "shown": shown, "rows": rows}


def every_run(comparison: Comparison) -> list[tuple[Row, Finished]]:
    """The runs that have a result, each with its row."""
    return [(row, each) for row in comparison.rows for each in row.finished]


def curve(each: Finished, kind: Kind) -> pd.DataFrame | None:
    """The finite part of a curve; None where there is nothing to draw."""
    table = each.curves.train if kind == "train" else each.curves.valid
    if table is None:
        return None
    table = table[np.isfinite(table["loss"])]
    return None if table.empty else table


def label(row: Row, each: Finished) -> str:
    """A run in words: `no-norm, seed 1, diverged`."""
    seed = each.result.parameters.get("seed", each.run.seed)
    return row.experiment + (f", seed {seed}" if seed is not None else "") + (", diverged" if each.diverged else "")


def _columns(row: Row, each: Finished, table: pd.DataFrame, n: int) -> dict[str, Any]:
    """A curve by column: about `n` points of it, evenly spread, and always its last."""
    thinned = table.iloc[:: -max(1, len(table) // n)][::-1]
    columns = {name: [_short(value) for value in thinned[name]] for name in (*AXES, "loss") if name in thinned}
    return {"experiment": row.experiment, "run": label(row, each), "diverged": each.diverged, "columns": columns}


def _short(value: float) -> float | None:
    """Five digits of it, for a file that is half as long; counts stay whole. None for what JSON has no number for."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.5g}")


def _range(rows: Sequence[Row], metric: str) -> list[float]:
    """Where the final figures lie; those of diverged runs only as far as they leave half of the height to the rest."""
    values = [(each.result.metrics[metric], each.diverged) for row in rows for each in row.finished]
    values = [(value, diverged) for value, diverged in values if math.isfinite(value)]
    good = [value for value, diverged in values if not diverged] or [value for value, _ in values]
    room = (max(good) - min(good)) or 0.1 * abs(good[0]) or 1.0
    low = max(min(value for value, _ in values), min(good) - room)
    high = min(max(value for value, _ in values), max(good) + room)
    return [low - 0.06 * room, high + 0.06 * room]


def _colour(comparison: Comparison) -> dict[str, Any]:
    """The page has a legend of its own, for all of its charts."""
    known = experiment_colours(comparison)
    return {"field": "experiment", "legend": None, "scale": {"domain": list(known), "range": list(known.values())}}


def _faded(opacity: float) -> dict[str, Any]:
    """The opacity of what is chosen, or of all while nothing is."""
    return {"condition": {"test": _CHOSEN, "value": opacity}, "value": 0.08}


def _hover() -> dict[str, Any]:
    """A layer that shows the point next to the pointer; the page says what it is.

    The tooltips of Vega-Lite itself do not know fields of text by the nearest point.
    """
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    opacity = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
    return {
        "params": [{"name": "hover", "select": select}],
        "mark": {"type": "circle", "size": 60, "tooltip": {"content": "data"}},
        "encoding": {"opacity": opacity},
    }
