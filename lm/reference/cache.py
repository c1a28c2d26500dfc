"""Keys and values of past tokens, so that generating a token costs one position instead of all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import DTypeLike, NDArray

from lm.config.model import ModelConfig
from lm.reference.parameter import Array


class KeyValueCache:
    """Room for the keys and values of `context_length` tokens of several texts in every layer.

    Shapes: each store is (n_layers, batch, context_length, n_kv_heads, d_head). `lengths` counts the filled positions
    of each text.
    """

    def __init__(self, config: ModelConfig, batch_size: int, dtype: DTypeLike) -> None:
        shape = (config.n_layers, batch_size, config.context_length, config.sizes.n_kv_heads, config.d_head)
        self._keys, self._values = np.zeros(shape, dtype), np.zeros(shape, dtype)
        self.lengths: NDArray[np.int64] = np.zeros(batch_size, np.int64)

    def places(self, seq: int) -> Int64[np.ndarray, "batch seq"]:
        """Where the next tokens of each text stand."""
        return self.lengths[:, None] + np.arange(seq)

    def extend(
        self,
        layer: int,
        keys: Float[np.ndarray, "batch seq heads d_head"],
        values: Float[np.ndarray, "batch seq heads d_head"],
    ) -> tuple[Float[np.ndarray, "batch total heads d_head"], Float[np.ndarray, "batch total heads d_head"]]:
        """All keys and values of a layer, with the given ones appended. After all layers, call `advance`."""
        rows, places = np.arange(len(self.lengths))[:, None], self.places(keys.shape[1])
        self._keys[layer, rows, places] = keys
        self._values[layer, rows, places] = values
        end = int(places.max()) + 1
        return self._keys[layer, :, :end], self._values[layer, :, :end]

    def advance(self, n_tokens: int) -> None:
        """Count the tokens that every layer has now appended."""
        self.lengths = self.lengths + n_tokens

    def rewind(self, n_tokens: Int64[np.ndarray, " batch"] | int) -> None:
        """Forget the last tokens of each text; others may then be appended in their place."""
        assert np.all((np.asarray(n_tokens) >= 0) & (n_tokens <= self.lengths)), (
            f"{n_tokens} of {self.lengths} positions"
        )
        self.lengths = self.lengths - n_tokens

    def select(self, rows: Sequence[int]) -> None:
        """Keep these texts, in this order; a text may be repeated."""
        rows = list(rows)
        self._keys, self._values = (self._selected(store, rows) for store in (self._keys, self._values))
        self.lengths = self.lengths[rows]

    def empty_row(self, row: int) -> "KeyValueCache":
        """A cache without tokens that shares the memory of one text."""
        shared = KeyValueCache.__new__(KeyValueCache)
        shared._keys, shared._values = self._keys[:, row : row + 1], self._values[:, row : row + 1]
        shared.lengths = np.zeros(1, np.int64)
        return shared

    def _selected(self, store: Array, rows: list[int]) -> Array:
        end = int(self.lengths[rows].max())
        selected = np.zeros((len(store), len(rows), *store.shape[2:]), store.dtype)
        selected[:, :, :end] = store[:, rows, :end]
        return selected
