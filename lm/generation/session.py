"""What generation asks of a model: a session, which reads texts and remembers what it has read."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from lm.config.model import ModelConfig


@runtime_checkable  # so that the tests can check arguments
class Session(Protocol):
    """Some texts side by side, all of one length, that a model has read.

    Three samples of one prompt, for example: `model.session(1)`, `read` the prompt once, `select([0, 0, 0])`.
    """

    @property
    def length(self) -> int:
        """How many positions have been read."""

    def read(self, ids: Int64[np.ndarray, "batch seq"], last: int | None = None) -> Float[Any, "batch positions vocab"]:
        """Read on; the logits of the token that follows each of these positions, or each of the `last` ones.

        They stay where the model computes: a tensor on its device, or a NumPy array. More positions than the context
        has are an AssertionError.
        """

    def rewind(self, n_positions: int) -> None:
        """Forget the last positions, of every text."""

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these texts in this order; a text may be chosen several times, or not at all."""


@runtime_checkable
class LanguageModel(Protocol):
    """What can be sampled from, in PyTorch or in NumPy."""

    config: ModelConfig

    def session(self, batch_size: int) -> Session:
        """A session of as many texts, all of them empty."""
