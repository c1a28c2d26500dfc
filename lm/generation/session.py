"""What generation needs from a model: a session, which reads texts and remembers what it has read."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from lm.config.model import ModelConfig


@runtime_checkable  # so that the tests can check arguments
class Session(Protocol):
    """Several texts that a model has read. They may have different lengths.

    For example, three samples of one prompt: `model.session(1)`, `read` the prompt once, `select([0, 0, 0])`.
    """

    @property
    def lengths(self) -> Int64[np.ndarray, " batch"]:
        """How many positions of each text have been read."""

    @property
    def length(self) -> int:
        """How many positions of the longest text have been read."""

    def read(self, ids: Int64[np.ndarray, "batch seq"], last: int | None = None) -> Float[Any, "batch positions vocab"]:
        """The logits of the token after each id, or after each of the `last` ids. The ids continue the texts.

        The logits stay where the model computes: a tensor on its device, or a NumPy array.

        Raises:
            AssertionError: when there would be more positions than the context has.
        """

    def read_states(
        self, ids: Int64[np.ndarray, "batch seq"]
    ) -> tuple[Float[Any, "batch seq d_model"], Float[Any, "batch 1 vocab"]]:
        """What the head reads after each id, and the logits of the token after the last one."""

    def refill(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Let these rows forget what they have read, and read these texts instead, which may be empty."""

    def rewind(self, n_positions: Int64[np.ndarray, " batch"] | int) -> None:
        """Forget the last `n_positions` positions of every text, or of each text its own number."""

    def select(self, rows: Sequence[int]) -> None:
        """Continue with these texts, in this order. A text may be chosen several times, or not at all."""


@runtime_checkable
class LanguageModel(Protocol):
    """A model that can generate text, in PyTorch or in NumPy."""

    config: ModelConfig

    def session(self, batch_size: int) -> Session:
        """A session of `batch_size` texts, all of them empty."""
