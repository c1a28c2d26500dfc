"""What the interactive charts and the PNG plots have in common: names of axes and metrics, colours, ranges."""

from collections.abc import Sequence

import matplotlib as mpl

from experiments.compare.comparison import Comparison, Row

AXES = {"step": "steps", "tokens": "tokens seen", "elapsed_s": "seconds of training"}  # the x axis of a curve
MOST_COLOURS = 8  # that people tell apart; more lines get a small picture each
ONE_OF_MANY, BASELINE = "#c2410c", "#9ca3af"  # the colours of a small picture


def colours(n: int) -> list[str]:
    """`n` colours as hexadecimal codes, at most eight of them different ones; beyond, all are the same."""
    if n > MOST_COLOURS:
        return [ONE_OF_MANY] * n
    return [mpl.colors.to_hex(mpl.colormaps["tab10"](i)) for i in range(n)]


def experiment_colours(comparison: Comparison) -> dict[str, str]:
    """The colour of each experiment, the same in all charts and plots."""
    names = [row.experiment for row in comparison.rows]
    found = dict(zip(names, colours(len(names)), strict=True))
    if len(names) > MOST_COLOURS and comparison.baseline:
        found[comparison.baseline] = BASELINE
    return found


def final_range(rows: Sequence[Row], metric: str) -> tuple[float, float]:
    """The range of a final metric: that of the runs that did not diverge, extended to the diverged runs.

    Each side is extended by at most the height that the others take, so that the others do not become a flat line.
    """
    runs = [run for row in rows for run in row.runs]
    values = [(value, run.diverged) for run in runs if (value := run.value(metric)) is not None]
    good = [value for value, diverged in values if not diverged] or [value for value, _ in values] or [0.0]
    room = (max(good) - min(good)) or 0.1 * abs(good[0]) or 1.0
    low = max(min([value for value, _ in values], default=0.0), min(good) - room)
    high = min(max([value for value, _ in values], default=0.0), max(good) + room)
    return low - 0.06 * room, high + 0.06 * room
