"""Whether a run diverged: judged by losses that are averaged or measured on the same text, never by one noisy row."""

import math

import numpy as np
import pandas as pd

from experiments.compare.curves import Curves
from experiments.run.results import Result, finite

# A loss that ends more than RISE times as high as it once was has risen.
RISE = 1.2
# After the fraction START of its steps, a loss of more than GUESS times ln(vocab_size) is worse than a model that knows
# nothing: that model has the loss ln(vocab_size).
GUESS, START = 1.1, 0.1
# The mean of some rows must be this many of its standard errors beyond a bound. A curve offers thousands of chances to
# be beyond it by luck, and the losses of single sequences have heavier tails than a normal distribution.
N_ERRORS = 6.0
# Nats per token. A loss below this counts as this, because a text that is known by heart is not lost by a tenth of a
# nat.
SMALL = 0.1


def broke_down(result: Result, curves: Curves) -> bool:
    """Whether a run diverged. It did in each of these cases:

    - The train stage or the stage that fine-tunes says so, or a metric or a loss is no finite number.
    - Training and validation loss both end high, or both are worse than a guess. Validation has no noise between two of
      its rows, because it reads the same text, but it also rises when a model learns its training text by heart. The
      training loss does not rise then, but it is noisy.
    - The training loss alone ends high, or is worse than a guess, by far more than its noise.
    """
    metrics = result.metrics
    said = metrics.get("diverged") or metrics.get("finetune.diverged")
    measured = [metrics[name] for name in ("bits_per_byte", "loss") if name in metrics]
    if said or None in map(finite, measured):
        return True
    train, valid = curves.train, curves.valid
    tables = [table for table in (train, valid) if table is not None and not table.empty]
    if not all(np.isfinite(table["loss"].to_numpy(dtype=np.float64)).all() for table in tables):
        return True
    if train is None or train.empty:
        return False
    guess = math.log(metrics["vocab_size"])
    validated = valid is not None and not valid.empty and _both_broke_down(train, valid, guess)
    return validated or _training_broke_down(train, guess)


def _both_broke_down(train: pd.DataFrame, valid: pd.DataFrame, guess: float) -> bool:
    """Whether training and validation loss agree that the run broke down, at its end or after its start.

    The training loss at a validation is the mean over the steps since the validation before it.
    """
    places = np.searchsorted(valid["step"], train["step"])  # the validation that follows a row, or ends at it
    means = train["loss"].groupby(places).mean()
    stretches = valid.reset_index(drop=True).assign(train=means).dropna(subset="train")
    if stretches.empty:
        return False
    low, high = stretches[["loss", "train"]].min(axis=1), stretches[["loss", "train"]].max(axis=1)
    started = low[stretches["step"] > START * train["step"].iloc[-1]]
    rose = low.iloc[-1] > RISE * max(high.min(), SMALL)
    return bool(rose or started.max() > GUESS * guess)


def _training_broke_down(train: pd.DataFrame, guess: float) -> bool:
    """Whether the training loss breaks down by more than its noise.

    The means of 1, 2, 4, ... rows, up to a quarter of the curve, are compared: the last one with the lowest one, and
    the highest one after the start with a guess. Logarithms are compared, because noise grows with the loss.
    """
    logs = np.log(train["loss"].clip(lower=SMALL))
    noise = _noise(train["loss"])
    started = train["step"] > START * train["step"].iloc[-1]
    width = 1
    while width <= max(1, len(logs) // 4):
        means = logs.rolling(width).mean()
        error = N_ERRORS * noise / math.sqrt(width)
        above_lowest = means.iloc[-1] - means.min()
        above_guess = means[started].max() - math.log(GUESS * guess)
        if above_lowest > max(math.log(RISE), math.sqrt(2) * error) or above_guess > error:
            return True
        width *= 2
    return False


def _noise(losses: "pd.Series[float]") -> float:
    """The relative noise of single rows, from the median distance of neighbours, so that a jump hardly counts."""
    distances = np.abs(np.diff(np.log(losses.clip(lower=1e-9).to_numpy())))
    if not len(distances):
        return math.inf
    return float(np.median(distances)) / (0.6745 * math.sqrt(2))  # 0.6745: the median of |x| for a standard normal x
