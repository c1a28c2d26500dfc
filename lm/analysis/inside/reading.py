"""A text as a model reads it: the end token, behind which a text begins, and the tokens of the text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from lm.tokenizer.inspection import show_token
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.batch import Batch


@dataclass(frozen=True)
class Reading:
    """The ids that a model reads, and how each is shown. `n_cut` tokens before them did not fit."""

    ids: Int64[Tensor, " seq"]
    tokens: Sequence[str]
    n_cut: int = 0


def read(tokenizer: Tokenizer, text: str, most: int, *, allow_special: bool = False) -> Reading:
    """The last `most` tokens of the end token and a text, which may be empty."""
    ids = [tokenizer.end_id, *tokenizer.encode(text, allow_special=allow_special)]
    kept = ids[-most:]
    return Reading(torch.tensor(kept), [show_token(tokenizer, id) for id in kept], len(ids) - len(kept))


def batch_of(documents: Sequence[Integer[np.ndarray, " _"]], end_id: int, most: int) -> Batch:
    """The first `most` tokens of each document, each behind the end token, as rows of one batch.

    Shorter rows are filled with end tokens, whose predictions do not count.
    """
    width = min(most, max(len(document) for document in documents))
    targets = np.full((len(documents), width), end_id, dtype=np.int64)
    weights = np.zeros(targets.shape, np.float32)
    for row, document in enumerate(documents):
        kept = document[:width]
        targets[row, : len(kept)], weights[row, : len(kept)] = kept, 1
    inputs = np.roll(targets, 1, axis=1)
    inputs[:, 0] = end_id
    return Batch(inputs, targets, weights)
