"""Causal multi-head self-attention (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762).

Shapes: batch, heads, seq = query positions, total = key positions (seq plus what a cache holds).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.config.model import ModelConfig
from lm.model.attend import Kernel, attend
from lm.model.cache import KeyValueCache
from lm.model.norm import RMSNorm
from lm.model.positions import alibi_bias, alibi_slopes, rotary_table, rotate


class Attention(nn.Module):
    """Attention with grouped key/value heads (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245), optionally with
    a local window (Beltagy et al. 2020, https://arxiv.org/abs/2004.05150) and normalised queries and keys (Henry et
    al. 2020, https://arxiv.org/abs/2010.04245, here with RMSNorm).

    The rows of `qkv` are all query heads, then all key heads, then all value heads.
    """

    slopes: Tensor
    rotary: Tensor

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.kernel: Kernel | None = None  # see `attend`
        n_kv_heads = config.sizes.n_kv_heads
        self.head_counts = [config.n_heads, n_kv_heads, n_kv_heads]
        self.qkv = nn.Linear(config.d_model, sum(self.head_counts) * config.d_head, bias=config.bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.query_norm = RMSNorm(config.d_head) if config.qk_norm else nn.Identity()
        self.key_norm = RMSNorm(config.d_head) if config.qk_norm else nn.Identity()
        if config.positions == "rope":
            table = rotary_table(config.context_length, config.d_head, config.rope_theta)
            self.register_buffer("rotary", table, persistent=False)
        if config.positions == "alibi":
            self.register_buffer("slopes", alibi_slopes(config.n_heads), persistent=False)

    def forward(
        self, x: Float[Tensor, "batch seq d_model"], cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch seq d_model"]:
        """The layer's output, without the residual. With a cache, x continues the positions that the cache holds."""
        config, seq = self.config, x.shape[1]
        start = cache.length if cache else 0

        # (batch, seq, all heads, d_head) -> three of (batch, heads, seq, d_head)
        heads = self.qkv(x).unflatten(-1, (-1, config.d_head)).transpose(1, 2)
        q, k, v = heads.split(self.head_counts, dim=1)
        q, k = self.query_norm(q), self.key_norm(k)
        if config.positions == "rope":
            table = self.rotary[:, start : start + seq]
            q, k = rotate(q, table), rotate(k, table)
        if cache is not None:
            k, v = cache.extend(self.layer, k.to(q.dtype), v.to(q.dtype))
        if (group := config.n_heads // k.shape[1]) > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)

        y = attend(q, k, v, self._mask(seq, start), config.dropout if self.training else 0.0, self.kernel)
        y = self.out(y.transpose(1, 2).flatten(2))
        return F.dropout(y, config.dropout, self.training)

    def _mask(self, seq: int, start: int) -> Bool[Tensor, "seq total"] | Float[Tensor, "heads seq total"] | None:
        """True where a query may look at a key, or the score to add; None where the plain causal rule says it all."""
        config, device = self.config, self.qkv.weight.device
        local = config.window is not None and config.window < start + seq
        if not local and config.positions != "alibi" and (start == 0 or seq == 1):
            return None
        distance = torch.arange(start, start + seq, device=device)[:, None] - torch.arange(start + seq, device=device)
        visible = distance >= 0
        if config.window is not None:
            visible &= distance < config.window
        if config.positions != "alibi":
            return visible
        return alibi_bias(self.slopes, distance).masked_fill(~visible, float("-inf"))
