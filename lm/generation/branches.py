"""Texts that continue one prompt and fork: what a search reads."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lm.generation.context import start_of_context
from lm.generation.session import LanguageModel


class Branches:
    """Several continuations of one prompt, all of the same length. At first there is one, the prompt itself.

    When the context is full, its older half is dropped and the rest is read again, as `generate` does.

    Attributes:
        texts: the ids of each, prompt included.
        session: has read all of `texts` that `unread` has given out.
    """

    def __init__(self, model: LanguageModel, prompt: Sequence[int]) -> None:
        self.texts: Int64[np.ndarray, "branches length"] = np.array([prompt], dtype=np.int64)
        self.session = model.session(1)
        self._context_length = model.config.context_length

    def unread(self) -> Int64[np.ndarray, "branches seq"]:
        """The ids that the session must read next."""
        if self.session.length == self._context_length:
            self.session.rewind(self._context_length)
        n = self.texts.shape[1]
        return self.texts[:, n - 1 if self.session.length else start_of_context(n, self._context_length) :]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these branches, in this order. A branch may be kept several times."""
        self.session.select(rows)
        self.texts = self.texts[list(rows)]

    def fork(self, parents: Sequence[int], ids: Sequence[int]) -> None:
        """Continue the branches `parents`, one after another, by one id each."""
        self.keep(parents)
        self.texts = np.column_stack([self.texts, ids])
