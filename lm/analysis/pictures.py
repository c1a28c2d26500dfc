"""Pictures of a run: the curves of its CSV files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lm.analysis.figure import log_axis, log_ticks, name_ends, new_figure, plain_axis, save_figure, set_ticks
from lm.formats.columns import Columns

_COLOURS = {"train": "#9db4d0", "valid": "#c2410c", "plain": "#1f4e79", "muted": "#6b7280"}
_NAMES = {**_COLOURS, "train": "#5b7ba3"}  # of names: a light line is easier to see than light letters


def nats_per_token(bits: Sequence[float] | None, n_tokens: int) -> float | None:
    """The floor of the loss from the bits of surprise of each document and the number of their tokens, if known."""
    return None if bits is None else math.fsum(bits) * math.log(2) / n_tokens


def plot_loss(train: Columns, valid: Columns, floor: float | None, path: Path, title: str = "Loss") -> None:
    """Training and validation loss against tokens seen, both axes logarithmic.

    `floor`, in nats per token, is the entropy of the validation text where it is known: no model can be better.
    """
    figure, axes = new_figure(title, "tokens seen", "nats per token")
    _curve(axes, train["tokens"], train["loss"], _COLOURS["train"])
    axes.plot(valid["tokens"], valid["loss"], color=_COLOURS["valid"], marker="o", markersize=3)
    names = []
    if len(train["loss"]):
        names.append((train["loss"][-1], "training", _NAMES["train"]))
    if len(valid["loss"]):  # a run may diverge before its first validation
        last, lowest = valid["loss"][-1], valid["loss"].min()
        text = f"validation {last:.3f}" + (f" (lowest {lowest:.3f})" if lowest < last else "")
        names.append((last, text, _NAMES["valid"]))
    if floor is not None:
        axes.axhline(floor, color=_COLOURS["muted"], linestyle=":")
        names.append((floor, f"floor {floor:.3f}", _NAMES["muted"]))
    log_axis(axes, "x")
    log_axis(axes, "y")
    name_ends(axes, names)
    save_figure(figure, path)


def _curve(axes: Axes, x: NDArray[Any], y: NDArray[Any], colour: str, linewidth: float | None = None) -> None:
    """A line; where a short run has a single point, a dot, because a line would show nothing of it."""
    axes.plot(x, y, color=colour, linewidth=linewidth, marker="o" if len(x) == 1 else None, markersize=3)


def plot_learning_rate(train: Columns, path: Path) -> None:
    """The learning rate of each step."""
    figure, axes = new_figure("Learning rate", "step", "learning rate")
    _curve(axes, train["step"], train["learning_rate"], _COLOURS["plain"])
    axes.set_ylim(bottom=0)
    plain_axis(axes, "x", whole=True)
    plain_axis(axes, "y")
    save_figure(figure, path)


def plot_gradient_norm(train: Columns, path: Path) -> None:
    """The norm of the gradient before clipping, on a logarithmic axis."""
    figure, axes = new_figure("Gradient norm (before clipping)", "step", "L2 norm")
    _curve(axes, train["step"], train["gradient_norm"], _COLOURS["plain"], linewidth=0.9)
    plain_axis(axes, "x", whole=True)
    log_axis(axes, "y")
    save_figure(figure, path)


def plot_loss_by_position(positions: Columns, path: Path) -> None:
    """Loss by position: how much the text before a token helps to predict it."""
    figure, axes = new_figure("Validation loss by position in the document", "position", "nats per token")
    smooth = rolling_mean(positions["loss"], 9)
    axes.plot(positions["position"] + 1, positions["loss"], color=_COLOURS["train"], linewidth=0.8)
    axes.plot(positions["position"] + 1, smooth, color=_COLOURS["valid"])
    axes.set_ylim(bottom=0)
    plain_axis(axes, "x", whole=True)
    plain_axis(axes, "y")
    if len(positions["loss"]):
        ends = (
            (positions["loss"][-1], "each position", _NAMES["train"]),
            (smooth[-1], "mean of 9", _NAMES["valid"]),
        )
        name_ends(axes, ends)
    save_figure(figure, path)


def rolling_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The mean of the `width` values around each value, an odd number; at the ends of those that are there.

    >>> rolling_mean(np.array([1.0, 2.0, 6.0]), 3).tolist()
    [1.5, 3.0, 4.0]
    """
    half = width // 2
    return np.array(
        [math.fsum(part) / len(part) for i in range(len(values)) for part in [values[max(0, i - half) : i + half + 1]]]
    )


def plot_token_frequency(frequencies: Columns, path: Path) -> None:
    """The share of each token by rank, both axes logarithmic, beside Zipf's law."""
    figure, axes = new_figure("How frequent tokens are", "rank of the token", "share of all tokens")
    axes.plot(frequencies["rank"], frequencies["share"], color=_COLOURS["plain"])
    middle, ends = len(frequencies["rank"]) // 2, frequencies["rank"][[0, -1]]
    law = frequencies["share"][middle] * frequencies["rank"][middle] / ends
    # A line of two points. Which of more points on a straight line are drawn would depend on the processor's rounding.
    axes.plot(ends, law, color=_COLOURS["muted"], linestyle=":")
    log_axis(axes, "x")
    log_axis(axes, "y")
    last = frequencies["share"][-1]
    name_ends(axes, [(last, "validation text", _NAMES["plain"]), (law[-1], "1 / rank", _NAMES["muted"])])
    save_figure(figure, path)


def plot_compression(sizes: Columns, path: Path) -> None:
    """Bytes per token by vocabulary size; the axis of the size is logarithmic."""
    figure, axes = new_figure("Compression of the validation text", "vocabulary size (logarithmic)", "bytes per token")
    axes.plot(sizes["vocab_size"], sizes["bytes_per_token"], color=_COLOURS["plain"], marker="o", markersize=3)
    axes.set_xscale("log", base=2)
    low, high = axes.get_xlim()
    powers = [2.0**k for k in range(32) if low <= 2.0**k <= high]
    set_ticks(axes, "x", powers if 3 <= len(powers) <= 10 else log_ticks(low, high))
    axes.set_ylim(bottom=0)
    plain_axis(axes, "y")
    save_figure(figure, path)


def plot_document_lengths(lengths: Columns, path: Path) -> None:
    """How many documents have about how many tokens; the axis of tokens is logarithmic."""
    figure, axes = new_figure("How long documents are", "tokens", "documents of the validation text")
    axes.fill_between(lengths["tokens"], lengths["documents"], step="mid", color=_COLOURS["train"])
    log_axis(axes, "x")
    axes.set_ylim(bottom=0)
    plain_axis(axes, "y", whole=True)
    save_figure(figure, path)
