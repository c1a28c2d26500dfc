"""Ablation: what the loss costs without a head, or without a whole sublayer.

Zero ablation replaces what a part writes with 0. Mean ablation replaces it with its mean over many texts, so that what
the part always writes is kept, and only what depends on the text is lost. Zeros may lie far from all that later layers
have ever read, so their cost is the higher one (Wang et al. 2022, section 2, https://arxiv.org/abs/2211.00593).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lm.analysis.evaluation import predict, ratio
from lm.analysis.inside.recording import Edit, Run, Site, run, sites
from lm.model.transformer import Transformer
from lm.training.batch import Batch

Ablation = Literal["zero", "mean"]


class Cost(NamedTuple):
    """What the loss rises by without a part, in nats a token; the error is None for a single text."""

    site: Site
    head: int | None  # None: the whole sublayer
    loss: float
    standard_error: float | None


@dataclass(frozen=True)
class Losses:
    """The sum of the losses of each text, and the number of its tokens."""

    loss: Float[np.ndarray, " texts"]
    n_tokens: Float[np.ndarray, " texts"]


def ablations(model: Transformer, texts: Batch, how: Ablation) -> list[Cost]:
    """What each head, each attention layer and each feed-forward layer is worth on some texts.

    The texts with and without the part are the same, so the standard error is that of their difference. It treats the
    texts as independent draws.
    """
    whole, usual = losses(model, texts)
    means = means_of(usual, texts) if how == "mean" else None
    costs = []
    for site in sites(model):
        if site.kind == "residual":
            continue
        for head in range(model.config.n_heads) if site.kind == "heads" else [None]:
            without, _ = losses(model, texts, removal([(site, head)], means))
            costs.append(Cost(site, head, *ratio(without.loss - whole.loss, whole.n_tokens)))
    return costs


@torch.no_grad()
def losses(model: Transformer, texts: Batch, edits: Mapping[Site, Edit] | None = None) -> tuple[Losses, Run]:
    """The losses of texts where `edits` replace values, and the run."""
    done = run(model, torch.from_numpy(texts.inputs).to(model.device), edits)
    counted = texts.weights > 0
    found = np.zeros(counted.shape)
    targets = torch.from_numpy(texts.targets[counted]).to(model.device)
    found[counted], _ = predict(model, done.hidden[torch.from_numpy(counted).to(model.device)], targets)
    return Losses(found.sum(1), counted.sum(1).astype(np.float64)), done


def means_of(usual: Run, texts: Batch) -> dict[Site, Tensor]:
    """The mean of each value over the tokens of all texts, in a run over them."""
    counted = torch.from_numpy(texts.weights > 0)
    return {site: value[counted.to(value.device)].mean(0) for site, value in usual.values.items()}


def removal(parts: Sequence[tuple[Site, int | None]], means: Mapping[Site, Tensor] | None = None) -> dict[Site, Edit]:
    """The edits that remove parts: heads of a site, or (None) all that it holds. Zeros take their place, or `means`."""
    edits: dict[Site, Edit] = {}
    for site in dict.fromkeys(site for site, _ in parts):
        heads = [head for at, head in parts if at == site]
        edits[site] = partial(_without, heads=heads, constant=None if means is None else means[site])
    return edits


def without_heads(heads: Sequence[tuple[int, int]]) -> dict[Site, Edit]:
    """The edits that make the outputs of some heads, named by layer and head, 0."""
    return removal([(Site("heads", layer), head) for layer, head in heads])


def _without(value: Tensor, heads: Sequence[int | None], constant: Tensor | None) -> Tensor:
    if constant is None:
        constant = torch.zeros_like(value[0, 0])
    if None in heads:
        return constant.expand_as(value)
    value = value.clone()
    for head in heads:
        assert head is not None
        value[:, :, head] = constant[head]
    return value
