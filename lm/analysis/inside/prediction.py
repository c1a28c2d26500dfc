"""What a model would say at each place of a text."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Likeliest:
    """The likeliest tokens at some positions, the likeliest first, and their probabilities."""

    ids: Int[np.ndarray, "seq count"]
    probabilities: Float[np.ndarray, "seq count"]


def likeliest(logits: Float[Tensor, "seq vocab"], count: int) -> Likeliest:
    """The `count` likeliest tokens at each position, fewer if the vocabulary is smaller."""
    top = logits.float().softmax(-1).topk(min(count, logits.shape[-1]))
    return Likeliest(top.indices.cpu().numpy(), top.values.cpu().numpy())
