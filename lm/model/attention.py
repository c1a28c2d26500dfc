"""Multi-head attention (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762): causal self-attention,
or attention of one sequence to another.

Shapes: batch, heads, seq = query positions, total = key positions. How generation reads a cache of past keys and values
is in `lm.model.reader`.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)
from torch.nn.attention.flex_attention import BlockMask

from lm.config.model import ModelConfig
from lm.model.attend import Kernel, Mask, attend, attention_weights
from lm.model.flex import flex_attend
from lm.model.norm import RMSNorm
from lm.model.positions import PositionTable, alibi_bias, alibi_slopes, rotary_table, rotate


class Attention(nn.Module):
    """Attention with grouped key/value heads (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245), optionally with
    a local window (Beltagy et al. 2020, https://arxiv.org/abs/2004.05150) and normalised queries and keys (Henry et
    al. 2020, https://arxiv.org/abs/2010.04245, here with RMSNorm).

    The rows of `qkv` are all query heads, then all key heads, then all value heads.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.kernel: Kernel | None = None  # see `attend`
        self.blocks: BlockMask | None = None  # what each position sees, for the kernel `flex`
        n_kv_heads = config.sizes.n_kv_heads
        self.head_counts = [config.n_heads, n_kv_heads, n_kv_heads]
        self.qkv = nn.Linear(config.d_model, sum(self.head_counts) * config.d_head, bias=config.bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.query_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else nn.Identity()
        self.key_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else nn.Identity()
        if config.positions == "rope":
            self.rotary = PositionTable(rotary_table(config.context_length, config.d_head, config.rope_theta))
        if config.positions == "alibi":
            self.slopes = PositionTable(alibi_slopes(config.n_heads))

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        positions: Int[Tensor, "batch seq"] | None = None,
        visible: Bool[Tensor, "batch seq seq"] | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The layer's output, without the residual.

        A query looks only at keys where `visible` is True, besides all other rules.

        With a memory this is cross-attention: queries come from x, keys and values from the memory. Each query sees the
        whole memory. Positions have no effect, because positions in two sequences cannot be compared.
        """
        q, k, v = self._heads(x, memory, positions)
        plain = memory is None and positions is None and visible is None
        whole = x.shape[1] == self.config.context_length
        if self.blocks is not None and plain and whole and torch.compiler.is_compiling():
            y = flex_attend(q, k, v, self.blocks, self.slopes.values if self.config.positions == "alibi" else None)
        else:
            mask = None if memory is not None else self._mask(x.shape[1], positions, visible)
            dropout = self.config.dropout if self.training else 0.0
            y = attend(q, k, v, mask, dropout, self.kernel, causal=memory is None)
        y = self.out(y.transpose(1, 2).flatten(2))
        return F.dropout(y, self.config.dropout, self.training)

    def weights(
        self,
        x: Float[Tensor, "batch seq d_model"],
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch heads seq total"]:
        """The attention weights of each position of x over the positions of x, or of the memory; before any dropout."""
        q, k, _ = self._heads(x, memory, positions)
        mask = None if memory is not None else self._mask(x.shape[1], positions)
        return attention_weights(q, k, mask, causal=memory is None)

    def _heads(self, x: Tensor, memory: Tensor | None, positions: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (batch, heads, seq, d_head), keys and values (batch, heads, total, d_head)."""
        config = self.config
        if memory is None:
            # (batch, seq, all heads, d_head) -> three of (batch, heads, seq, d_head)
            heads = self.qkv(x).unflatten(-1, (-1, config.d_head)).transpose(1, 2)
            q, k, v = heads.split(self.head_counts, dim=1)
        else:
            q, k, v = self._heads_of_two(x, memory)
        q, k = self.query_norm(q), self.key_norm(k)
        if config.positions == "rope" and memory is None:
            places = slice(x.shape[1]) if positions is None else positions
            table = self.rotary.values[:, places]
            q, k = rotate(q, table), rotate(k, table)
        if (group := config.n_heads // k.shape[1]) > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        return q, k, v

    def _heads_of_two(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x, keys and values of the memory. Each is made by its own rows of `qkv`."""
        n_rows, d_head = self.config.d_model, self.config.d_head  # n_rows make the queries, which come first
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(x, weight[:n_rows], None if bias is None else bias[:n_rows])
        kv = F.linear(memory, weight[n_rows:], None if bias is None else bias[n_rows:])
        k, v = kv.view(*kv.shape[:2], -1, d_head).transpose(1, 2).chunk(2, dim=1)
        return q.view(*q.shape[:2], -1, d_head).transpose(1, 2), k, v

    def _mask(self, seq: int, positions: Tensor | None, visible: Tensor | None = None) -> Mask | None:
        """True where a query may look at a key, or the score to add; None if the plain causal rule is enough.

        A query looks at itself and at what stands before it in the text. Windows and ALiBi use the distance between
        positions.
        """
        config, device = self.config, self.qkv.weight.device
        if positions is None:
            local = config.window is not None and config.window < seq
            if not local and config.positions != "alibi" and visible is None:
                return None
            places = torch.arange(seq, device=device)
            distance = places[:, None] - places
            seen = distance >= 0
        else:
            if config.window is None and config.positions != "alibi" and visible is None:
                return None
            distance = (positions[:, :, None] - positions[:, None, :]).abs()
            seen = torch.ones_like(distance, dtype=torch.bool).tril()
        if config.window is not None:
            seen = seen & (distance < config.window)
        if visible is not None:
            seen = seen & visible
        if config.positions != "alibi":
            return seen if seen.ndim == 2 else seen[:, None]
        return alibi_bias(self.slopes.values, distance).masked_fill(~seen.unsqueeze(-3), float("-inf"))
