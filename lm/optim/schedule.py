"""Learning-rate schedules: plain functions of the step."""

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant", "wsd"]


def learning_rate(
    step: int,
    *,
    kind: Schedule,
    peak: float,
    final: float,
    n_steps: int,
    n_warmup_steps: int,
    decay_fraction: float,
) -> float:
    """The learning rate of optimizer step `step`, counted from 0.

    All kinds warm up linearly: step s of the first `n_warmup_steps` takes peak * (s + 1) / n_warmup_steps. Then
    `cosine` (Loshchilov & Hutter 2016, https://arxiv.org/abs/1608.03983) and `linear` fall from the peak towards
    `final * peak`; `constant` stays; `wsd`, warmup-stable-decay (Hu et al. 2024, https://arxiv.org/abs/2404.06395),
    stays and falls linearly over the last `decay_fraction` of all steps.

    A fall would reach `final * peak` at the step after the last one. So with `final` = 0 the last step still learns.

    >>> [learning_rate(s, kind="linear", peak=1.0, final=0.0, n_steps=6, n_warmup_steps=2, decay_fraction=0.0)
    ...  for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < n_warmup_steps:
        return peak * (step + 1) / n_warmup_steps
    first = n_warmup_steps
    if kind == "wsd":
        first = max(first, n_steps - round(decay_fraction * n_steps))
    # How far the fall has come before this step: 0 at its first step, 1 only after the last step of the run.
    progress = min(1.0, max(0, step - first) / max(1, n_steps - first))
    match kind:
        case "constant":
            return peak
        case "linear" | "wsd":
            remaining = 1 - progress
        case "cosine":
            remaining = (1 + math.cos(math.pi * progress)) / 2
    return peak * (final + (1 - final) * remaining)
