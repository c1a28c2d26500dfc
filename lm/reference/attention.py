"""Multi-head attention (Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762): causal self-attention,
or attention of one sequence to another.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.reference.attend import Attend, attention_weights
from lm.reference.cache import KeyValueCache
from lm.reference.dropout import Dropout
from lm.reference.linear import Linear
from lm.reference.norm import NoNorm, RMSNorm
from lm.reference.parameter import Array, Parameters
from lm.reference.positions import Positions, rotate, rotate_back


class Attention:
    """Attention with grouped key/value heads, optionally with a local window and normalised queries and keys.

    The rows of `qkv` are all query heads, then all key heads, then all value heads. The papers are named at
    the same layer in PyTorch, `lm.model.attention`.
    """

    def __init__(
        self, config: ModelConfig, parameters: Parameters, name: str, layer: int, positions: Positions
    ) -> None:
        self.config, self.layer, self.positions = config, layer, positions
        self.n_kv_heads = config.sizes.n_kv_heads
        self.qkv = Linear(parameters, f"{name}.qkv")
        # With a memory, the same matrix is used in two parts: its first d_model rows make the queries.
        self.queries = Linear(parameters, f"{name}.qkv", slice(None, config.d_model))
        self.keys_values = Linear(parameters, f"{name}.qkv", slice(config.d_model, None))
        self.out = Linear(parameters, f"{name}.out")
        self.query_norm = RMSNorm(parameters, f"{name}.query_norm", config.norm_eps) if config.qk_norm else NoNorm()
        self.key_norm = RMSNorm(parameters, f"{name}.key_norm", config.norm_eps) if config.qk_norm else NoNorm()
        self.attend = Attend(config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Float[np.ndarray, "batch seq d_model"],
        generator: np.random.Generator | None,
        cache: KeyValueCache | None = None,
        memory: Float[np.ndarray, "batch memory d_model"] | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
        documents: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The layer's output, without the residual. With a cache, x continues the positions that the cache holds.

        If `documents` gives each token the number of its document, queries look at keys of the same document only.

        With a memory this is cross-attention: queries come from x, keys and values from the memory. Each query sees the
        whole memory. Positions have no effect, because positions in two sequences cannot be compared.
        """
        q, k, v, bias = self._heads(x, cache, memory, positions)
        if documents is not None and bias is not None:  # a single token, which needs no bias, is in one document
            same = documents[:, :, None] == documents[:, None, :]
            bias = np.where(same[:, None, None], bias, bias.dtype.type(-np.inf))
        y = self.attend.forward(q, k, v, bias, generator)
        y = y.transpose(0, 3, 1, 2, 4).reshape(*x.shape[:2], -1)
        return self.dropout.forward(self.out.forward(y), generator)

    def weights(
        self,
        x: Float[np.ndarray, "batch seq d_model"],
        memory: Float[np.ndarray, "batch memory d_model"] | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch heads seq total"]:
        """The attention weights of each position of x over the positions of x, or of the memory; before any dropout.

        Do not call it between `forward` and `backward`: it overwrites what the layers remember for `backward`.
        """
        q, k, _, bias = self._heads(x, None, memory, positions)
        weights = attention_weights(q, k, bias)
        return weights.reshape(len(x), -1, *weights.shape[3:])

    def _heads(
        self, x: Array, cache: KeyValueCache | None, memory: Array | None, positions: NDArray[np.integer[Any]] | None
    ) -> tuple[Array, Array, Array, Array | None]:
        """Queries, keys and values as `Attend` takes them, and the bias that is added to the scores."""
        config, (batch, seq, _) = self.config, x.shape
        assert cache is None or (memory is None and positions is None), "a cache holds neither memory nor positions"
        starts = np.zeros(1, np.int64) if cache is None else cache.lengths
        self._has_memory = memory is not None
        if memory is None:
            heads = self.qkv.forward(x).reshape(batch, seq, -1, config.d_head)
            q, k, v = np.split(heads, [config.n_heads, config.n_heads + self.n_kv_heads], axis=2)
            bias = self.positions.bias(starts, seq, positions)
        else:
            q = self.queries.forward(x).reshape(batch, seq, -1, config.d_head)
            heads = self.keys_values.forward(memory).reshape(batch, memory.shape[1], -1, config.d_head)
            k, v = np.split(heads, 2, axis=2)
            bias = None
        q, k = self.query_norm.forward(q), self.key_norm.forward(k)
        if self.positions.rotary is not None and memory is None:
            rotary = self.positions.rotary
            if cache is not None:
                positions = cache.places(seq)
            self._table = rotary[:, :seq] if positions is None else rotary[:, positions]
            q, k = rotate(q, self._table), rotate(k, self._table)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)

        # (batch, seq, heads, d_head) -> (batch, n_kv_heads, group, seq, d_head)
        q = q.reshape(batch, seq, self.n_kv_heads, -1, config.d_head).transpose(0, 2, 3, 1, 4)
        k, v = (heads.transpose(0, 2, 1, 3)[:, :, None] for heads in (k, v))
        return q, k, v, bias

    def backward(
        self, dy: Float[np.ndarray, "batch seq d_model"]
    ) -> tuple[Float[np.ndarray, "batch seq d_model"], Float[np.ndarray, "batch memory d_model"] | None]:
        """The gradients of x and of the memory, if there was one. The steps are those of `forward` in reverse order."""
        config, (batch, seq, _) = self.config, dy.shape
        dy = self.out.backward(self.dropout.backward(dy))
        dy = dy.reshape(batch, seq, self.n_kv_heads, -1, config.d_head).transpose(0, 2, 3, 1, 4)
        dq, dk, dv = self.attend.backward(dy)

        # (batch, n_kv_heads, group, seq, d_head) -> (batch, seq, heads, d_head)
        dq, dk, dv = (d.transpose(0, 3, 1, 2, 4).reshape(batch, d.shape[3], -1, config.d_head) for d in (dq, dk, dv))
        if self.positions.rotary is not None and not self._has_memory:
            dq, dk = rotate_back(dq, self._table), rotate_back(dk, self._table)
        dq, dk = self.query_norm.backward(dq), self.key_norm.backward(dk)
        if not self._has_memory:
            return self.qkv.backward(np.concatenate([dq, dk, dv], axis=2).reshape(batch, seq, -1)), None
        dx = self.queries.backward(dq.reshape(batch, seq, -1))
        return dx, self.keys_values.backward(np.concatenate([dk, dv], axis=2).reshape(batch, dk.shape[1], -1))
