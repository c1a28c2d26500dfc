"""What a backend of training provides: a model with its optimizer, in any library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.distributed.team import Team
from lm.formats.parameters import Table
from lm.training.batch import Batch

Arrays = dict[str, NDArray[Any]]


class Measurement(NamedTuple):
    """Weighted means over the predictions of a batch; the loss in nats."""

    loss: float
    accuracy: float


class ComputeReport(NamedTuple):
    """What a backend computes with: `facts` that JSON can hold, and `words` that give the reasons."""

    facts: dict[str, Any]
    words: list[str]


@dataclass(frozen=True)
class State:
    """What a run needs to continue: arrays by name, and values that JSON can hold."""

    arrays: Arrays
    values: dict[str, Any]

    @classmethod
    def joined(cls, values: dict[str, Any], **parts: Mapping[str, NDArray[Any]]) -> Self:
        """A state made of several groups of arrays. `part` returns each group."""
        return cls(
            {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}, values
        )

    def part(self, part: str) -> Arrays:
        """The arrays of one group."""
        prefix = f"{part}/"
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}


@runtime_checkable  # so that the tests can check arguments
class Backend(Protocol):
    """A model that is being trained, and its optimizer.

    A step has two halves, `gradient` and `update`, so that the trainer can check the first before the weights change.
    """

    @property
    def model_config(self) -> ModelConfig:
        """The shape of the model."""

    @property
    def table(self) -> Table:
        """The parameters of the model."""

    @property
    def compute_report(self) -> ComputeReport:
        """What the backend computes with."""

    @property
    def team(self) -> Team:
        """The processes that compute together. Each has a backend like this one and makes the same calls."""

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient may be infinite or NaN without an error: `update` then leaves the weights unchanged."""

    def gradient(self, parts: Sequence[Batch], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """The means over a batch given in parts, and the norm of its gradient before clipping.

        The gradient is that of the weighted mean over the whole batch, however the batch is split. `noise` is the seed
        of the dropout.
        """

    def update(self, learning_rate: float) -> None:
        """Change the weights by the gradient of the last batch."""

    def measure(self, batch: Batch) -> Measurement:
        """The means over a batch, without training on it. The weights must add up to more than 0."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights by their names in a model file."""

    def state(self) -> State:
        """A copy of everything that later steps depend on."""

    def load_state(self, state: State) -> None:
        """Continue from a state that `state` returned."""
