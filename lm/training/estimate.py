"""How long a run of training takes and how much memory it needs, from what was measured on this machine.

`Speedometer` tells of a run that has begun, from its own first steps. `expected_s` tells of a run that has not begun,
from the earlier runs whose timings lie in a folder; `least_bytes` needs no measurement. A list of experiments can call
both:

    table = parameter_table(model, vocab_size)
    flops = training_flops(model, table, n_tokens)
    seconds = expected_s(flops, train, Path(".timings"))  # None: nothing like it was timed here
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.parameters import Table, size_of
from lm.optim.rules import update_rule
from lm.system.files import read_json
from lm.training.timing import machine

_FIRST_S = 3.0  # seconds of steps that a pace is measured over, at least
_FIRST_STEPS = 3
_NEAR = 100  # times as much as another run, or a part of it


def training_flops(config: ModelConfig, table: Table, n_tokens: float) -> float:
    """The floating-point operations of all matrix products of training on `n_tokens` tokens.

    For each token, two for each weight, and in attention four for each feature of a query and each position of the
    context; backwards twice as many as forwards (Chowdhery et al. 2022, appendix B, https://arxiv.org/abs/2204.02311).
    Those of the optimizer are left out.
    """
    weights = sum(math.prod(spec.shape) for spec in table.values() if spec.role in ("hidden", "head"))
    if config.tie_embeddings:  # the embedding is the head too
        weights += math.prod(table["embedding.weight"].shape)
    attention = 2 * config.n_layers * config.n_heads * config.d_head * config.context_length
    return 6.0 * (weights + attention) * n_tokens


def least_bytes(table: Table, config: TrainConfig) -> int:
    """What a run holds in memory at least: weights, gradients, kept weights and the optimizer's means, in float32.

    Activations come on top. They depend on the batch, and on how they are computed.
    """
    n_numbers = 3 * size_of(table)
    for spec in table.values():
        n_means = 2
        if config.optimizer == "sgd":
            n_means = 1 if config.momentum else 0
        elif update_rule(spec, config).orthogonal:
            n_means = 1
        n_numbers += n_means * math.prod(spec.shape)
    return 4 * n_numbers


def expected_s(flops: float, config: TrainConfig, timings: Path) -> float | None:
    """Seconds of training, at the speed of the earlier run on this machine that computed most nearly as much.

    None if no run with this backend and device was timed here that computed a hundredth as much, or less than a hundred
    times as much: its speed would say nothing.
    """
    runs = list(_earlier_runs(config, timings))
    if not runs:
        return None
    nearest = min(runs, key=lambda run: abs(math.log(run[0] / flops)))
    near = abs(math.log(nearest[0] / flops)) < math.log(_NEAR)
    return flops * nearest[1] / nearest[0] if near else None


def facts_of_speed(flops: float, config: TrainConfig, peak: float | None = None) -> dict[str, float | str]:
    """What a file of timings says of a run, so that `expected_s` can use it.

    `peak`: the most operations a second of what it ran on, if it is known (`lm.training.utilisation`).
    """
    facts: dict[str, float | str] = {"backend": config.backend, "device": config.device, "flops": flops}
    return facts if peak is None else facts | {"peak_flops": peak}


def _earlier_runs(config: TrainConfig, timings: Path) -> Iterator[tuple[float, float]]:
    """Operations and seconds of each earlier run."""
    wanted = {"machine": machine(), "backend": config.backend, "device": config.device}
    for path in sorted(timings.glob("*.json")):
        values = _read(path)
        if wanted.items() <= values.items() and values["elapsed_s"] and values["flops"] > 0:
            yield values["flops"], values["elapsed_s"][-1]


@cache
def _read(path: Path) -> dict[str, Any]:
    """A file of timings, which never changes: its name is a hash of the curve."""
    values: dict[str, Any] = read_json(path)
    return values


class Speedometer:
    """Measures the first steps of a run, to say how long the others will take."""

    def __init__(self, n_tokens: int) -> None:
        """`n_tokens`: the tokens of the whole run."""
        self._n_tokens = n_tokens
        self._started: tuple[float, int] | None = None  # after the first step, which is slower than others
        self._n_steps = 0
        self._said = False

    def rest_s(self, now_s: float, tokens: int) -> float | None:
        """Seconds that the steps left will take: given once, as soon as enough of them were measured."""
        if self._started is None:
            self._started = now_s, tokens
            return None
        self._n_steps += 1
        started_s, tokens_before = self._started
        if self._said or self._n_steps < _FIRST_STEPS or now_s - started_s < _FIRST_S:
            return None
        self._said = True
        return (now_s - started_s) / (tokens - tokens_before) * (self._n_tokens - tokens)
