"""Attention by FlexAttention, whose kernel the compiler writes from the rule of the mask (Dong et al. 2024).

https://arxiv.org/abs/2412.05496. It visits only those blocks of scores in which some query may look at some key. So a
window saves time, where PyTorch's other kernels read a mask of all scores, and ALiBi needs no scores in memory.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


@cache
def visible_blocks(seq: int, window: int | None, device: torch.device) -> BlockMask:
    """The keys that each of `seq` positions looks at: all up to itself, or the last `window` of these."""

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        causal = query >= key
        return causal if window is None else causal & (query - key < window)

    return create_block_mask(visible, None, None, seq, seq, device=str(device))


def flex_attend(
    q: Float[Tensor, "batch heads seq d_head"],
    k: Float[Tensor, "batch heads seq d_head"],
    v: Float[Tensor, "batch heads seq d_head"],
    blocks: BlockMask,
    slopes: Float[Tensor, " heads"] | None = None,
) -> Float[Tensor, "batch heads seq d_head"]:
    """The attention of each position over the positions that it sees. It is fast only in compiled code on a GPU.

    With slopes, the scores of each head fall with the distance of the key (ALiBi).
    """

    def score(value: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        assert slopes is not None
        return value - slopes[head] * (query - key)

    y = flex_attention(q, k, v, score_mod=None if slopes is None else score, block_mask=blocks)
    assert isinstance(y, Tensor)
    return y
