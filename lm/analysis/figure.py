"""Figures in our style: axes with few plain numbers, and names at the ends of the curves in place of a legend."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from lm.system.files import replacing

_GAP = 12  # points between two names at the ends of curves
# Ticks of a logarithmic axis in one decade, from the most to the fewest; of the last ones only every n-th decade.
_MANTISSAS = [(1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)]


def new_figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure in our style, with its title and the names of its axes."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")  # without pyplot, which takes long to import
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    dress(axes)
    return figure, axes


def dress(axes: Axes) -> None:
    """Give axes a light grid and no frame."""
    axes.grid(color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain_number(value: float, _: object = None) -> str:
    """A number as it stands at an axis.

    >>> [plain_number(x) for x in (0.0003, 0.74, 20, 2048, 480_000, 2_000_000)]
    ['0.0003', '0.74', '20', '2048', '480k', '2M']
    """
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
    return f"{value:.7f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 else f"{value:.2g}"


def log_ticks(low: float, high: float) -> list[float]:
    """Few round numbers from `low` to `high`, both positive, that stand far enough apart on a logarithmic axis.

    >>> log_ticks(0.6, 8)
    [0.7, 1.0, 2.0, 3.0, 5.0, 7.0]
    >>> log_ticks(31_000, 4_100_000)
    [50000.0, 100000.0, 200000.0, 500000.0, 1000000.0, 2000000.0]
    >>> log_ticks(215, 340)
    [220.0, 240.0, 260.0, 280.0, 300.0, 320.0, 340.0]
    """
    room = 0.055 * np.log10(high / low)  # between two ticks
    decades = [float(f"1e{exponent}") for exponent in range(-12, 16)]
    choices = [[m * ten for ten in decades for m in mantissas] for mantissas in _MANTISSAS]
    choices += [decades[12 % step :: step] for step in (2, 3, 4, 6)]
    for choice in choices:
        ticks = [float(f"{tick:.3g}") for tick in choice if low <= tick <= high]
        apart = all(np.log10(right / left) >= room for left, right in pairwise(ticks))
        if len(ticks) <= 7 and apart:
            break
    if len(ticks) >= 3:
        return ticks
    linear = map(float, MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high))
    return [float(f"{tick:.6g}") for tick in linear if low <= tick <= high]


def log_axis(axes: Axes, name: str) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers, once all is drawn. Its name says so.

    An empty axis stays as it is. It is empty if a run diverged at its first step.
    """
    if not np.isfinite(axes.dataLim.get_points()).all():
        return
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    if label := axis.get_label_text():
        axis.set_label_text(f"{label} (logarithmic)")
    low, high = axis.get_view_interval()
    set_ticks(axes, name, log_ticks(float(low), float(high)))


def set_ticks(axes: Axes, name: str, ticks: Sequence[float]) -> None:
    """Put plain numbers at these places of the axis "x" or "y", and nothing between them."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_ticks(ticks, labels=[plain_number(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def plain_axis(axes: Axes, name: str, whole: bool = False) -> None:
    """Write plain numbers at the axis "x" or "y"; whole ones only, if `whole`."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(7, integer=whole, steps=[1, 2, 5, 10], min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(plain_number))


def name_ends(axes: Axes, names: Sequence[tuple[float, str, str]], size: float = 9.0) -> None:
    """Write names right of the ends of curves, each as (height of the end, text, colour), once the axes have limits.

    Names whose curves end at the same height are moved apart, so that none covers another one or the axis below.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # gives the axes their place
    # Heights are fractions of the height of the axes from here on.
    gap = _GAP / (axes.bbox.height * 72 / figure.dpi)
    shown = [(height, text, colour) for height, text, colour in names if np.isfinite(height)]
    ends = axes.transAxes.inverted().transform(axes.transData.transform([(axes.get_xlim()[0], y) for y, *_ in shown]))
    ordered = sorted(zip(ends[:, 1].tolist(), shown, strict=True), key=lambda end: end[0]) if shown else []
    heights: list[float] = []
    for height, _ in ordered:
        heights.append(max(height, gap / 2 if not heights else heights[-1] + gap))
    for i in reversed(range(len(heights))):  # what was pushed above the top goes down again
        heights[i] = min(heights[i], 1 - gap * (len(heights) - 1 - i))
    for height, (_, (_, text, colour)) in zip(heights, ordered, strict=True):
        axes.annotate(
            text,
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=size,
            annotation_clip=False,
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with replacing(path) as file:
        # No software version inside: the same curve gives the same bytes.
        figure.savefig(file, format="png", dpi=130, metadata={"Software": None})
