"""Keys and values of past tokens, so that generating a token costs one position instead of all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from lm.config.model import ModelConfig
from lm.reference.parameter import Array


class KeyValueCache:
    """Room for the keys and values of `context_length` tokens in every layer.

    Shapes: each store is (n_layers, batch, context_length, n_kv_heads, d_head). `length` counts the filled positions.
    """

    def __init__(self, config: ModelConfig, batch_size: int, dtype: DTypeLike) -> None:
        shape = (config.n_layers, batch_size, config.context_length, config.sizes.n_kv_heads, config.d_head)
        self._keys, self._values = np.zeros(shape, dtype), np.zeros(shape, dtype)
        self.length = 0

    def extend(
        self,
        layer: int,
        keys: Float[np.ndarray, "batch seq heads d_head"],
        values: Float[np.ndarray, "batch seq heads d_head"],
    ) -> tuple[Float[np.ndarray, "batch total heads d_head"], Float[np.ndarray, "batch total heads d_head"]]:
        """All keys and values of a layer, with the given ones appended. After all layers, call `advance`."""
        end = self.length + keys.shape[1]
        self._keys[layer, :, self.length : end] = keys
        self._values[layer, :, self.length : end] = values
        return self._keys[layer, :, :end], self._values[layer, :, :end]

    def advance(self, n_tokens: int) -> None:
        """Count the tokens that every layer has now appended."""
        self.length += n_tokens

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens; others may then be appended in their place."""
        assert 0 <= n_tokens <= self.length, f"{n_tokens} of {self.length} positions"
        self.length -= n_tokens

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows of the batch, in this order; a row may be repeated."""
        self._keys, self._values = (self._selected(store, rows) for store in (self._keys, self._values))

    def _selected(self, store: Array, rows: Sequence[int]) -> Array:
        selected = np.empty((len(store), len(rows), *store.shape[2:]), store.dtype)
        selected[:, :, : self.length] = store[:, rows, : self.length]
        return selected
