"""How long training took. Time belongs to a machine, not to a result, so no out holds it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.system.files import read_json, write_json
from lm.system.processor import processor_name

_EVERY_S = 0.5  # between two laps that are kept: enough laps for a curve, and not too many for a long run


class Timing:
    """Seconds of training by step, added up over all the times that a run was resumed."""

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self.steps: list[int] = []
        self.elapsed_s: list[float] = []
        self._every_s = every_s
        self._before_s, self._started = 0.0, time.monotonic()
        self._kept_s = 0.0  # the time of the lap before the last

    def resume(self, path: Path, step: int) -> None:
        """Continue from the file that `write` wrote, up to `step`. Later steps are taken again, and timed again."""
        if path.exists():
            values = read_json(path)
            laps = [lap for lap in zip(values["steps"], values["elapsed_s"], strict=True) if lap[0] <= step]
            self.steps, self.elapsed_s = [lap[0] for lap in laps], [lap[1] for lap in laps]
            self._before_s = self.elapsed_s[-1] if laps else 0.0
            self._kept_s = self.elapsed_s[-2] if len(laps) > 1 else 0.0

    def lap(self, step: int) -> None:
        """Note the time after a step. The last lap is always kept; of the earlier laps, one for each half second."""
        now_s = round(self._before_s + time.monotonic() - self._started, 3)
        if self.steps and self.elapsed_s[-1] - self._kept_s < self._every_s:
            del self.steps[-1], self.elapsed_s[-1]
        elif self.steps:
            self._kept_s = self.elapsed_s[-1]
        self.steps.append(step)
        self.elapsed_s.append(now_s)

    def values(self, **facts: Any) -> dict[str, Any]:
        """All laps so far, the name of the machine, and facts about the run, as JSON holds them."""
        return {"machine": machine(), **facts, "steps": [*self.steps], "elapsed_s": [*self.elapsed_s]}

    def write(self, path: Path, **facts: Any) -> None:
        """Write `values`."""
        write_json(path, self.values(**facts))


def utilisation(values: Mapping[str, Any]) -> float | None:
    """The share of the processor's arithmetic that a run used, from what `write` wrote; None if it is not known."""
    if not values["elapsed_s"] or not values["elapsed_s"][-1] or "peak_flops" not in values:
        return None
    return float(values["flops"] / values["elapsed_s"][-1] / values["peak_flops"])


def in_words(seconds: float) -> str:
    """A duration in words: tenths of a second below ten seconds, else to the second or the minute.

    >>> in_words(0.27), in_words(28.4), in_words(275), in_words(7384)
    ('0.3 s', '28 s', '4 min 35 s', '2 h 3 min')
    """
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def machine() -> str:
    """The processor's name and how many of its cores this process may use."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{processor_name()}, {n_cores} {'core' if n_cores == 1 else 'cores'}"
