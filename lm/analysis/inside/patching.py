"""Activation patching: which values of one run, put into another, bring its answer along (Vig et al. 2020,
https://arxiv.org/abs/2004.12265; Meng et al. 2022, https://arxiv.org/abs/2202.05262).

Two prompts with as many tokens differ in a word. What the model predicts after them differs too. Each cell of a grid is
a run over the other prompt in which one value comes from the run over the text. It says how much of the difference this
value carries: 0 is the other prompt's prediction, 1 that of the text (Wang et al. 2022, section 3,
https://arxiv.org/abs/2211.00593).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lm.analysis.inside.recording import Run, Site, run
from lm.model.transformer import Transformer

_TOKENS = 8192  # that a run holds at once


@dataclass(frozen=True)
class Patching:
    """What patching found. `difference`: the logit of `answer` less that of `other_answer`, after the last token."""

    answer: int  # the token that loses most probability from the text to the other prompt
    other_answer: int  # the token that gains most
    difference: float  # in the text
    other_difference: float
    residual: Float[np.ndarray, "streams seq"]  # the share that the stream carries, before each layer and at the end
    heads: Float[np.ndarray, "layers heads"]  # the share that each head carries, at all positions together


def patching(model: Transformer, ids: Int64[Tensor, " seq"], other: Int64[Tensor, " other_seq"]) -> Patching | None:
    """What carries the difference between the predictions after `ids` and after `other`; None if there is none.

    Raises:
        ValueError: when the two do not have as many tokens.
    """
    if len(ids) != len(other):
        raise ValueError(f"must have as many tokens as the text, {len(ids)}, got {len(other)}")
    source, target = run(model, ids[None]), run(model, other[None])
    gain = _logits(model, source).softmax(-1)[0] - _logits(model, target).softmax(-1)[0]
    answer, other_answer = int(gain.argmax()), int(gain.argmin())

    def difference(done: Run) -> Float[Tensor, " batch"]:
        logits = _logits(model, done).double()
        return logits[:, answer] - logits[:, other_answer]

    high, low = float(difference(source)[0]), float(difference(target)[0])
    if high == low:
        return None

    def shares(site: Site, n_cells: int, put: Callable[[Tensor, Tensor, int], None]) -> Float[np.ndarray, " cells"]:
        """The share of each of the cells of a site. `put` puts cell number i of the source into a row."""
        found = []
        n_rows = max(1, _TOKENS // len(ids))
        for start in range(0, n_cells, n_rows):
            cells = range(start, min(start + n_rows, n_cells))

            def edit(value: Tensor, cells: range = cells) -> Tensor:
                value = value.clone()
                for row, cell in enumerate(cells):
                    put(value[row], source.values[site][0], cell)
                return value

            found.append(difference(run(model, other.expand(len(cells), -1), {site: edit})).cpu().numpy())
        shares: Float[np.ndarray, " cells"] = (np.concatenate(found) - low) / (high - low)
        return shares

    layers, n_heads = range(model.config.n_layers), model.config.n_heads
    residual = [shares(Site("residual", layer), len(ids), _put_position) for layer in range(len(layers) + 1)]
    heads = [shares(Site("heads", layer), n_heads, _put_head) for layer in layers]
    return Patching(answer, other_answer, high, low, np.array(residual), np.array(heads))


def _logits(model: Transformer, done: Run) -> Float[Tensor, "batch vocab"]:
    """The logits after the last token."""
    with torch.no_grad():
        return model.logits(done.hidden[:, -1])


def _put_position(row: Tensor, source: Tensor, position: int) -> None:
    row[position] = source[position]


def _put_head(row: Tensor, source: Tensor, head: int) -> None:
    row[:, head] = source[:, head]
