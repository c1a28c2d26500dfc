"""Keys and values of past tokens, so that generating a token costs one position instead of all."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lm.config.model import ModelConfig


class KeyValueCache:
    """Room for the keys and values of `context_length` tokens in every layer.

    Shapes: each store is (n_layers, batch, n_kv_heads, context_length, d_head). `length` counts the filled positions.
    """

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (config.n_layers, batch_size, config.sizes.n_kv_heads, config.context_length, config.d_head)
        self._keys = torch.zeros(shape, device=device, dtype=dtype)
        self._values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    def extend(
        self, layer: int, keys: Float[Tensor, "batch heads seq d_head"], values: Float[Tensor, "batch heads seq d_head"]
    ) -> tuple[Float[Tensor, "batch heads total d_head"], Float[Tensor, "batch heads total d_head"]]:
        """All keys and values of a layer, with the given ones appended. After all layers, call `advance`."""
        end = self.length + keys.shape[2]
        self._keys[layer, :, :, self.length : end] = keys
        self._values[layer, :, :, self.length : end] = values
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def advance(self, n_tokens: int) -> None:
        """Count the tokens that every layer has now appended."""
        self.length += n_tokens

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens; others may then be appended in their place."""
        assert 0 <= n_tokens <= self.length, f"{n_tokens} of {self.length} positions"
        self.length -= n_tokens

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows of the batch, in this order; a row may be repeated."""
        index = torch.tensor(rows, device=self._keys.device)
        self._keys, self._values = (self._selected(store, index) for store in (self._keys, self._values))

    def _selected(self, store: Tensor, rows: Tensor) -> Tensor:
        selected = store.new_empty(len(store), len(rows), *store.shape[2:])
        selected[:, :, :, : self.length] = store[:, :, :, : self.length].index_select(1, rows)
        return selected
