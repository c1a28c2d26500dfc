"""Parameters of training."""

from itertools import accumulate
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]


# These say how a run is computed. They change only its speed, its memory, its rounding and what dropout drops.
COMPUTE_PARAMETERS = ("compile", "attention", "threads", "processes", "shard", "recompute")


class TrainConfig(Section):
    """How a model is trained."""

    moved: ClassVar = {"log_every": "observe.log_every", "tensorboard": "observe.tensorboard"}
    moved_values: ClassVar = {"attention": {"stored": "math"}}

    backend: Literal["torch", "numpy"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool | Literal["auto"]
    attention: Literal["auto", "fused", "math", "flex"]
    threads: Count | None
    processes: Count | Literal["auto"]
    shard: bool
    recompute: bool
    steps: Count
    tokens: Count | None
    batch_size: Count
    rows: Literal["documents", "windows"]
    accumulate: Count
    ramp_steps: Annotated[int, Field(ge=0)]
    optimizer: Literal["muon", "adamw", "adam", "sgd"]
    muon_parts: bool
    learning_rate: Rate
    betas: Annotated[list[Beta], Field(min_length=2, max_length=2)]
    eps: Rate
    momentum: Beta
    nesterov: bool
    weight_decay: Decay
    clip_norm: Rate | None
    schedule: Literal["cosine", "linear", "constant", "wsd"]
    warmup_steps: Annotated[int, Field(ge=0)] | None
    decay_fraction: Fraction
    final_learning_rate: Fraction
    valid_every: Count
    valid_sequences: Count
    patience: Count | None
    if_diverged: Literal["fail", "record", "skip"]
    keep: Literal["best", "last"]
    snapshots: list[Annotated[int, Field(ge=0)]]

    @property
    def part_size(self) -> int:
        """The number of sequences that are computed at once."""
        return self.batch_size // self.accumulate

    def n_parts(self, step: int) -> int:
        """The number of parts in the batch of a step: from 1 up to `accumulate` in `ramp_steps`, then `accumulate`.

        Small batches are enough early in training, because all batches then give nearly the same gradient (McCandlish
        et al. 2018, https://arxiv.org/abs/1812.06162).
        """
        if step >= self.ramp_steps:
            return self.accumulate
        return 1 + step * self.accumulate // self.ramp_steps

    def n_sequences(self, n_steps: int) -> int:
        """The number of sequences in the first `n_steps` steps together."""
        ramp = min(n_steps, self.ramp_steps)
        n_parts = sum(self.n_parts(step) for step in range(ramp)) + (n_steps - ramp) * self.accumulate
        return n_parts * self.part_size

    def n_steps(self, context_length: int) -> int:
        """The number of optimizer steps: `steps`, or if `tokens` is given, as many as fit into it (at least one)."""
        if self.tokens is None:
            return self.steps
        n_sequences = self.tokens // context_length
        after_ramp = (n_sequences - self.n_sequences(self.ramp_steps)) // self.batch_size
        if after_ramp >= 0:
            return max(1, self.ramp_steps + after_ramp)
        totals = accumulate(self.n_parts(step) * self.part_size for step in range(self.ramp_steps))
        return max(1, sum(total <= n_sequences for total in totals))

    def n_warmup_steps(self, n_steps: int) -> int:
        """The number of warm-up steps: `warmup_steps`, or if null, a twentieth of the run.

        Raises:
            ValueError: when the run is shorter.
        """
        n_warmup_steps = n_steps // 20 if self.warmup_steps is None else self.warmup_steps
        if n_warmup_steps > n_steps:
            raise self.wrong("warmup_steps", f"must be at most the run's {n_steps} steps, got {n_warmup_steps}")
        return n_warmup_steps

    def check_attention(self, dropout: float) -> None:
        """Raise ValueError when this kernel of attention cannot compute a model with that dropout."""
        if self.attention in ("math", "flex") and dropout:
            raise self.wrong("attention", f"'{self.attention}' has no dropout, got model.dropout={dropout}")

    def check_shares(self, n_processes: int) -> None:
        """Raise ValueError when batches do not divide among so many processes."""
        if self.part_size % n_processes:
            raise self.wrong(
                "batch_size",
                f"each of its {self.accumulate} parts must divide among {n_processes} processes, "
                f"got {self.part_size} sequences a part",
            )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.accumulate:
            raise self.wrong(
                "accumulate", f"must divide batch_size={self.batch_size} into equal parts, got {self.accumulate}"
            )
        if self.ramp_steps and self.accumulate == 1:
            raise self.wrong(
                "ramp_steps", f"needs accumulate above 1, because the batch grows by its parts, got {self.ramp_steps}"
            )
        if self.shard and self.precision == "fp16":
            raise self.wrong("shard", "must be false with precision fp16, because shards cannot share its loss scale")
        if self.shard and self.compile is True:
            raise self.wrong("shard", "must be false with compile, got true")
        if self.attention == "flex" and self.rows == "documents":
            raise self.wrong("attention", "'flex' needs rows 'windows', got 'documents'")
        if self.nesterov and not self.momentum:
            raise self.wrong("nesterov", "needs a momentum above 0, got momentum=0")
        if self.backend == "numpy":
            can: dict[str, tuple[object, ...]] = {
                "device": ("auto", "cpu"),
                "precision": ("auto", "fp32"),
                "compile": ("auto", False),
                "attention": ("auto",),
                "threads": (None,),
                "processes": ("auto", 1),
                "shard": (False,),
                "recompute": (False,),
            }
            for name, values in can.items():
                if (value := getattr(self, name)) not in values:
                    allowed = " or ".join("null" if v is None else str(v).lower() for v in values)
                    raise self.wrong(name, f"must be {allowed} with backend 'numpy', got {value!r}")
        return self
