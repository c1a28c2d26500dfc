"""Causal multi-head self-attention (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762)."""

import numpy as np
from jaxtyping import Float

from lm.config.model import ModelConfig
from lm.reference.attend import Attend
from lm.reference.cache import KeyValueCache
from lm.reference.dropout import Dropout
from lm.reference.linear import Linear
from lm.reference.norm import NoNorm, RMSNorm
from lm.reference.parameter import Parameters
from lm.reference.positions import Positions, rotate, rotate_back


class Attention:
    """Attention with grouped key/value heads, optionally with a local window and normalised queries and keys.

    The rows of `qkv` are all query heads, then all key heads, then all value heads. The papers are named where the
    same layer stands in PyTorch, `lm.model.attention`.
    """

    def __init__(
        self, config: ModelConfig, parameters: Parameters, name: str, layer: int, positions: Positions
    ) -> None:
        self.config, self.layer, self.positions = config, layer, positions
        self.n_kv_heads = config.sizes.n_kv_heads
        self.qkv = Linear(parameters, f"{name}.qkv")
        self.out = Linear(parameters, f"{name}.out")
        self.query_norm = RMSNorm(parameters, f"{name}.query_norm") if config.qk_norm else NoNorm()
        self.key_norm = RMSNorm(parameters, f"{name}.key_norm") if config.qk_norm else NoNorm()
        self.attend = Attend(config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Float[np.ndarray, "batch seq d_model"],
        generator: np.random.Generator | None,
        cache: KeyValueCache | None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The layer's output, without the residual. With a cache, x continues the positions that the cache holds."""
        config, (batch, seq, _) = self.config, x.shape
        start = cache.length if cache else 0

        heads = self.qkv.forward(x).reshape(batch, seq, -1, config.d_head)
        q, k, v = np.split(heads, [config.n_heads, config.n_heads + self.n_kv_heads], axis=2)
        q, k = self.query_norm.forward(q), self.key_norm.forward(k)
        if self.positions.rotary is not None:
            self._table = self.positions.rotary[:, start : start + seq]
            q, k = rotate(q, self._table), rotate(k, self._table)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)

        # (batch, seq, heads, d_head) -> (batch, n_kv_heads, group, seq, d_head)
        q = q.reshape(batch, seq, self.n_kv_heads, -1, config.d_head).transpose(0, 2, 3, 1, 4)
        k, v = (heads.transpose(0, 2, 1, 3)[:, :, None] for heads in (k, v))
        y = self.attend.forward(q, k, v, self.positions.bias(start, seq), generator)
        y = y.transpose(0, 3, 1, 2, 4).reshape(batch, seq, -1)
        return self.dropout.forward(self.out.forward(y), generator)

    def backward(self, dy: Float[np.ndarray, "batch seq d_model"]) -> Float[np.ndarray, "batch seq d_model"]:
        """The gradient of x, the steps of `forward` in reverse."""
        config, (batch, seq, _) = self.config, dy.shape
        dy = self.out.backward(self.dropout.backward(dy))
        dy = dy.reshape(batch, seq, self.n_kv_heads, -1, config.d_head).transpose(0, 2, 3, 1, 4)
        dq, dk, dv = self.attend.backward(dy)

        # (batch, n_kv_heads, group, seq, d_head) -> (batch, seq, heads, d_head)
        dq, dk, dv = (d.transpose(0, 3, 1, 2, 4).reshape(batch, seq, -1, config.d_head) for d in (dq, dk, dv))
        if self.positions.rotary is not None:
            dq, dk = rotate_back(dq, self._table), rotate_back(dk, self._table)
        dq, dk = self.query_norm.backward(dq), self.key_norm.backward(dk)
        return self.qkv.backward(np.concatenate([dq, dk, dv], axis=2).reshape(batch, seq, -1))
