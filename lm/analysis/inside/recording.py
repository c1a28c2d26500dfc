"""What happens inside a model while it reads: its inner values, recorded, and replaced where somebody wants to know
what follows.

The values are those that modules of the model take or return, so hooks of PyTorch reach them. The model itself runs,
with its own code, and knows nothing of it. So a run that replaces nothing gives the model's own outputs, bit for bit.

    residual      (batch, seq, d_model)         the residual stream before a block; one more stands after the last block
    heads         (batch, seq, heads, d_head)   what each head has read, before the matrix `out` mixes them
    attention     (batch, seq, d_model)         what the attention of a block adds to the stream
    feed_forward  (batch, seq, d_model)         what its feed-forward layer adds

With `norm_position: post` the stream is normalised after each of the two additions.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lm.model.transformer import Block, Transformer

Kind = Literal["residual", "heads", "attention", "feed_forward"]


class Site(NamedTuple):
    """One of the places where a value is recorded. The layers count from 0."""

    kind: Kind
    layer: int


Edit = Callable[[Tensor], Tensor]  # from a value to what takes its place; it must not write to its argument


@dataclass(frozen=True)
class Run:
    """What a model computed from some ids: the values at all sites, and what its head reads at the end."""

    values: Mapping[Site, Tensor]
    hidden: Float[Tensor, "batch seq d_model"]


@torch.no_grad()
def run(model: Transformer, ids: Int[Tensor, "batch seq"], edits: Mapping[Site, Edit] | None = None) -> Run:
    """The run of a model over `ids`, where `edits` replace values. What is recorded is what took their place.

    `model.logits(run.hidden)` are the logits.
    """
    assert not model.training, "dropout would change the values"
    edits, values = edits or {}, dict[Site, Tensor]()
    unknown = [site for site in edits if site not in sites(model)]
    assert not unknown, f"the model has no {unknown}"

    def meet(value: Tensor, kind: Kind, layer: int) -> Tensor:
        site = Site(kind, layer)
        values[site] = edits[site](value) if site in edits else value
        return values[site]

    def meet_heads(value: Tensor, layer: int) -> Tensor:
        by_head = value.view(*value.shape[:2], -1, model.config.d_head)
        return meet(by_head, "heads", layer).flatten(2)

    with ExitStack() as hooks:
        for layer, block in enumerate(blocks(model)):
            hooks.enter_context(_before(block, partial(meet, kind="residual", layer=layer)))
            hooks.enter_context(_before(block.attention.out, partial(meet_heads, layer=layer)))
            hooks.enter_context(_after(block.attention, partial(meet, kind="attention", layer=layer)))
            hooks.enter_context(_after(block.feed_forward, partial(meet, kind="feed_forward", layer=layer)))
        hooks.enter_context(_after(model.blocks[-1], partial(meet, kind="residual", layer=len(model.blocks))))
        hidden = model.hidden(ids)
    return Run(values, hidden)


def sites(model: Transformer) -> list[Site]:
    """All sites of a model, in the order in which it meets them."""
    kinds: tuple[Kind, ...] = ("residual", "heads", "attention", "feed_forward")
    inside = [Site(kind, layer) for layer in range(len(model.blocks)) for kind in kinds]
    return [*inside, Site("residual", len(model.blocks))]


def blocks(model: Transformer) -> list[Block]:
    """The blocks of a model, from the first to the last."""
    found = [block for block in model.blocks if isinstance(block, Block)]
    assert len(found) == len(model.blocks)
    return found


def _before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """While it is entered, the first argument of a module is changed."""
    return module.register_forward_pre_hook(lambda _, arguments: (change(arguments[0]), *arguments[1:]))


def _after(module: nn.Module, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """While it is entered, the result of a module is changed."""
    return module.register_forward_hook(lambda _, arguments, result: change(result))
