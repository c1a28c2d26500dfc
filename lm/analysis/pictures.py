"""Pictures of a run: the curves of its CSV files."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # write files only, even where there is a screen

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from lm.system.files import replacing

_COLOURS = {"train": "#9db4d0", "valid": "#c2410c", "plain": "#1f4e79", "muted": "#6b7280"}


def plot_loss(train: pd.DataFrame, valid: pd.DataFrame, path: Path) -> None:
    """Training and validation loss against tokens seen, both axes logarithmic."""
    figure, axes = new_figure("Loss", "tokens seen", "nats per token")
    axes.plot(train["tokens"], train["loss"], color=_COLOURS["train"], label="train")
    axes.plot(valid["tokens"], valid["loss"], color=_COLOURS["valid"], marker="o", markersize=3, label="validation")
    if len(valid):  # a run may diverge before its first validation
        best = valid.iloc[int(valid["loss"].to_numpy().argmin())]
        axes.annotate(
            f"{best['loss']:.3f}",
            (best["tokens"], best["loss"]),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            color=_COLOURS["valid"],
        )
    log_scale(axes)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False)
    save_figure(figure, path)


def plot_learning_rate(train: pd.DataFrame, path: Path) -> None:
    """The learning rate of each step."""
    figure, axes = new_figure("Learning rate", "step", "learning rate")
    axes.plot(train["step"], train["learning_rate"], color=_COLOURS["plain"])
    axes.set_ylim(bottom=0)
    save_figure(figure, path)


def plot_gradient_norm(train: pd.DataFrame, path: Path) -> None:
    """The norm of the gradient before clipping, on a logarithmic axis."""
    figure, axes = new_figure("Gradient norm (before clipping)", "step", "L2 norm")
    axes.plot(train["step"], train["gradient_norm"], color=_COLOURS["plain"], linewidth=0.9)
    log_scale(axes, "y")
    save_figure(figure, path)


def plot_loss_by_position(positions: pd.DataFrame, path: Path) -> None:
    """Loss by position: how much the text before a token helps to predict it."""
    figure, axes = new_figure("Validation loss by position in the document", "position", "nats per token")
    smooth = positions["loss"].rolling(9, center=True, min_periods=1).mean()
    axes.plot(
        positions["position"] + 1, positions["loss"], color=_COLOURS["train"], linewidth=0.8, label="each position"
    )
    axes.plot(positions["position"] + 1, smooth, color=_COLOURS["valid"], label="mean of 9")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    save_figure(figure, path)


def plot_token_frequency(frequencies: pd.DataFrame, path: Path) -> None:
    """The share of each token by rank, both axes logarithmic, beside Zipf's law."""
    figure, axes = new_figure("How frequent tokens are", "rank of the token", "share of all tokens")
    axes.plot(frequencies["rank"], frequencies["share"], color=_COLOURS["plain"], label="validation text")
    middle = frequencies.iloc[len(frequencies) // 2]
    axes.plot(
        frequencies["rank"],
        middle["share"] * middle["rank"] / frequencies["rank"],
        color=_COLOURS["muted"],
        linestyle=":",
        label="1 / rank",
    )
    log_scale(axes)
    axes.legend(frameon=False)
    save_figure(figure, path)


def plot_compression(sizes: pd.DataFrame, path: Path) -> None:
    """Bytes per token by vocabulary size; the axis of the size is logarithmic."""
    figure, axes = new_figure("Compression of the validation text", "vocabulary size", "bytes per token")
    axes.plot(sizes["vocab_size"], sizes["bytes_per_token"], color=_COLOURS["plain"], marker="o", markersize=3)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    save_figure(figure, path)


def plot_document_lengths(lengths: pd.DataFrame, path: Path) -> None:
    """How many documents have about how many tokens; the axis of tokens is logarithmic."""
    figure, axes = new_figure("How long documents are", "tokens", "documents of the validation text")
    axes.fill_between(lengths["tokens"], lengths["documents"], step="mid", color=_COLOURS["train"])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter())  # plain numbers, and as many as there is room for
    axes.xaxis.set_minor_formatter(LogFormatter())
    axes.set_axisbelow(True)
    axes.set_ylim(bottom=0)
    save_figure(figure, path)


def new_figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure in our style, with its title and the names of its axes."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#e5e7eb", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def log_scale(axes: Axes, which: str = "xy") -> None:
    """Make axes logarithmic, unless they are empty, because a run may diverge at its first step."""
    if np.isfinite(axes.dataLim.get_points()).all():
        axes.set(**{f"{name}scale": "log" for name in which})


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and close it."""
    with replacing(path) as file:
        # No software version inside: the same curve gives the same bytes.
        figure.savefig(file, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
