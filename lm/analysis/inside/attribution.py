"""Direct logit attribution: which parts of the model a logit comes from (Elhage et al. 2021, "A Mathematical Framework
for Transformer Circuits", https://transformer-circuits.pub/2021/framework).

The residual stream is a sum: the embedding, and what every head and every feed-forward layer has added. The head of the
model is linear. Only norms stand in between. Of a norm we keep the divisor that it has in this run. Then it is linear
too (the bias of a layernorm is a part of its own), and the logit is the sum of what its parts give, exactly.

What a part adds by way of later parts is not counted for it. For this see `lm.analysis.inside.ablation`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lm.analysis.inside.recording import Site, blocks
from lm.model.norm import LayerNorm, RMSNorm
from lm.model.transformer import Transformer


class Part(NamedTuple):
    """A part that writes to the residual stream. `layer` is None outside the blocks, `head` outside of heads."""

    kind: Literal["embedding", "head", "attention bias", "feed-forward", "norm bias"]
    layer: int | None = None
    head: int | None = None


Parts = dict[Part, Float[Tensor, "batch seq d_model"]]


@torch.no_grad()
def contributions(model: Transformer, values: Mapping[Site, Tensor]) -> Parts:
    """What each part gives to the vector that the head of the model reads. Their sum is `Run.hidden`.

    The product with a row of `model.head_weight` is what each part gives to the logit of that token. `values` are
    those of a run without edits.
    """
    parts: Parts = {Part("embedding"): values[Site("residual", 0)]}
    for layer, block in enumerate(blocks(model)):
        out = block.attention.out
        written = out.weight.view(len(out.weight), -1, model.config.d_head)  # (d_model, heads, d_head)
        by_head = torch.einsum("bshd,mhd->hbsm", values[Site("heads", layer)], written)
        parts |= {Part("head", layer, head): written for head, written in enumerate(by_head)}
        if out.bias is not None:
            parts[Part("attention bias", layer)] = out.bias.expand_as(by_head[0])
        if not block.pre:
            parts = _normed(block.attention_norm, parts, layer)
        parts[Part("feed-forward", layer)] = values[Site("feed_forward", layer)]
        if not block.pre:
            parts = _normed(block.feed_forward_norm, parts, layer)
    parts = _normed(model.final_norm, parts, None)
    return {part: vector * model.config.output_scale for part, vector in parts.items()}


def _normed(norm: nn.Module, parts: Parts, layer: int | None) -> Parts:
    """What a norm makes of each part of its input, if it divides each by what it divides their sum by."""
    if isinstance(norm, nn.Identity):
        return parts
    x = torch.stack([*parts.values()]).sum(0)
    if isinstance(norm, RMSNorm):
        factor = torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps) * norm.weight
        return {part: vector * factor for part, vector in parts.items()}
    assert isinstance(norm, LayerNorm)
    x = x - x.mean(-1, keepdim=True)
    factor = torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps) * norm.weight
    normed = {part: (vector - vector.mean(-1, keepdim=True)) * factor for part, vector in parts.items()}
    if norm.bias is not None:
        bias = Part("norm bias", layer)
        normed[bias] = normed.get(bias, torch.zeros_like(x)) + norm.bias
    return normed
