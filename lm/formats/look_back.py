"""Heads that begin by looking back: the start of a model that learns soon to look up what it has read.

An induction head finds what came after the same token before. It needs a head in an earlier layer that tells each
position which token stands before it (Elhage et al. 2021, https://transformer-circuits.pub/2021/framework; Olsson et
al. 2022, https://arxiv.org/abs/2209.11895). Training finds both only together, and so late. Here the first of the two
is there from the start; where it comes from is in docs/theory/initial-weights.md. Only starting weights are chosen.
The model is the same, and training may change all of them.
"""

import math
from collections.abc import Iterator
from typing import Any

from lm.config.model import ModelConfig

CONSTANT = 0.16  # the first entry of every embedding: eight deviations of the others
GAIN = 1.5  # of normalised queries and keys, so that such a head looks nearly at one token alone
_STRENGTH = 0.5


def look_back(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """What differs in the table of parameters, by the name of the parameter; nothing without such heads.

    Key/value head i of the first block, from 0, and its first query head begin by looking i + 1 tokens back.
    """
    if not config.sizes.look_back_heads:
        return {}
    attention = "blocks.0.attention"
    norms = ("query_norm", "key_norm") if config.qk_norm else ()
    return {
        "embedding.weight": {"first_column": CONSTANT},
        f"{attention}.qkv.weight": {"first_column": tuple(_heads(config))},
        **{f"{attention}.{norm}.weight": {"start": GAIN} for norm in norms},
    }


def _heads(config: ModelConfig) -> Iterator[float]:
    """What each row of queries, keys and values reads from the first entry of an embedding, the same for every token.

    Rotary positions turn pair f of a query at position i by i * w_f, and of a key at j by j * w_f. So if a query is the
    same as the key but turned back by n * w_f, their product is a sum of cos((i - n - j) * w_f), the greatest at
    j = i - n. The fastest quarter of the pairs tells neighbours apart.
    """
    n_looking, n_kv_heads = config.sizes.look_back_heads, config.sizes.n_kv_heads
    half, group = config.d_head // 2, config.n_heads // n_kv_heads
    for head in range(config.n_heads):
        back = head // group + 1 if head % group == 0 else 0
        yield from _pairs(config, half, back) if 0 < back <= n_looking else [0.0] * config.d_head
    for head in range(n_kv_heads):
        yield from _pairs(config, half, 0) if head < n_looking else [0.0] * config.d_head
    yield from [0.0] * (n_kv_heads * config.d_head)


def _pairs(config: ModelConfig, half: int, back: int) -> list[float]:
    """A vector with entries in the fastest quarter of its pairs, turned back by so many positions."""
    angles = [-back * config.rope_theta ** (-f / half) for f in range(max(1, half // 4))]
    rest = [0.0] * (half - len(angles))
    turned = [*map(math.cos, angles), *rest, *map(math.sin, angles), *rest]
    return [_STRENGTH * entry for entry in turned]
