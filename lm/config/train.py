"""Parameters of training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Section):
    """How a model is trained."""

    backend: Literal["torch", "numpy"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    steps: Count
    tokens: Count | None
    batch_size: Count
    accumulate: Count
    optimizer: Literal["adamw", "adam", "sgd"]
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
    if_diverged: Literal["fail", "record"]
    keep: Literal["best", "last"]
    log_every: Count
    tensorboard: bool

    @property
    def matmul_precision(self) -> Literal["fp32", "bf16", "fp16"]:
        """The precision of matrix products: `auto` is bfloat16 in PyTorch and float32 in NumPy, which has no less."""
        if self.precision == "auto":
            return "bf16" if self.backend == "torch" else "fp32"
        return self.precision

    def n_steps(self, context_length: int) -> int:
        """Optimizer steps: `steps`, or where a token budget is given, as many as it pays for (at least one)."""
        if self.tokens is None:
            return self.steps
        return max(1, self.tokens // (self.batch_size * context_length))

    def n_warmup_steps(self, n_steps: int) -> int:
        """Warm-up steps: `warmup_steps`, or when null a twentieth of the run."""
        return n_steps // 20 if self.warmup_steps is None else self.warmup_steps

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.accumulate: must divide batch_size={self.batch_size} into equal parts, got {self.accumulate}"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("train.nesterov: needs a momentum above 0, got train.momentum=0")
        if self.backend == "numpy":
            can = {"device": ("auto", "cpu"), "precision": ("auto", "fp32"), "compile": (False,)}
            for name, values in can.items():
                if (value := getattr(self, name)) not in values:
                    allowed = " or ".join(str(v).lower() for v in values)
                    raise ValueError(f"train.{name}: must be {allowed} with backend 'numpy', got {value!r}")
        return self
