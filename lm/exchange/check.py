"""Whether an export computes what our model computes: it is opened again, and both read the same ids."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from lm.exchange.rewrites import Model
from lm.model.transformer import Transformer

# Of logits in float32: both sides round in every operation, and the more, the larger the logits are. A wrong mapping
# shows at a tenth of the largest logit and above.
_TOLERANCE, _RELATIVE = 1e-4, 3e-5
_N_TEXTS, _LONGEST = 2, 512

Logits = Callable[[torch.Tensor], Float[torch.Tensor, "batch seq vocab"]]


def fixed_ids(model: Model) -> torch.Tensor:
    """Random ids that are always the same, as many as the context holds, at most 512: (2, seq)."""
    shape = (_N_TEXTS, min(_LONGEST, model.config.context_length))
    return torch.from_numpy(np.random.Generator(np.random.Philox(0)).integers(0, model.vocab_size, shape))


def logits_of(model: Model, ids: torch.Tensor) -> Float[torch.Tensor, "batch seq vocab"]:
    """What our Transformer computes with these weights."""
    transformer = Transformer(model.config, model.vocab_size).eval()
    transformer.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in model.weights.items()})
    with torch.no_grad():
        logits: torch.Tensor = transformer(ids)
    return logits


def logits_in_transformers(
    folder: Path, ids: torch.Tensor, with_code: bool = False
) -> Float[torch.Tensor, "batch seq vocab"]:
    """What `transformers` computes with the model in a folder, in float32; `with_code` if the folder holds its code."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=with_code
    )
    if shown:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        logits: torch.Tensor = model(ids).logits
    return logits


def tolerance(logits: Float[torch.Tensor, "batch seq vocab"]) -> float:
    """How far the logits of an export may lie from these."""
    return max(_TOLERANCE, _RELATIVE * float(logits.abs().max()))


def largest_difference(
    a: Float[torch.Tensor, "batch seq vocab"], b: Float[torch.Tensor, "batch seq vocab"], place: str
) -> float:
    """The largest difference between two logits.

    Raises:
        ValueError: when it is no number, because one of the models gives none.
    """
    difference = float((a - b).abs().max())
    if not np.isfinite(difference):
        raise ValueError(f"{place}: must give finite logits, got a difference of {difference}")
    return difference
