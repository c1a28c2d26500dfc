"""What the interactive charts and the PNG plots have in common: names of axes and metrics, and colours."""

import matplotlib as mpl

from experiments.compare.comparison import Comparison

AXES = {"step": "steps", "tokens": "tokens seen", "elapsed_s": "seconds of training"}  # the x axis of a curve
METRIC_NAMES = {"bits_per_byte": "bits per byte", "loss": "nats per token", "accuracy": "token accuracy"}


def colours(n: int) -> list[str]:
    """`n` colours as hexadecimal codes; up to ten of them are easy to tell apart."""
    names = ["tab10", "tab20"][n > 10]
    return [mpl.colors.to_hex(mpl.colormaps[names](i % (10 if n <= 10 else 20))) for i in range(n)]


def experiment_colours(comparison: Comparison) -> dict[str, str]:
    """The colour of each experiment, the same in all charts and plots."""
    return {row.experiment: colour for row, colour in zip(comparison.rows, colours(len(comparison.rows)), strict=True)}
