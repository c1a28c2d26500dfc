"""Keys and values of past tokens, so that generating a token costs one position instead of all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lm.config.model import ModelConfig

BLOCK = 64  # a cache has whole blocks of columns, see `KeyValueCache`


class KeyValueCache:
    """The keys and values of several texts, which may have different lengths, in every layer.

    Shape of the store: (n_layers, 2, rows, n_kv_heads, columns, d_head), the keys first, then the values. So the heads
    of all rows lie one after the other, and products read them where they lie. It has at least as many rows as there
    are texts, and two at least. Column i of a row holds its position i. `lengths` says how many columns of each text
    are filled.

    Attention reads all columns, so on a CPU there are no more than the longest text needs, in whole blocks. Sums over
    whole blocks, in which columns without a key weigh 0, are the same for every number of blocks. So a text does not
    depend on longer texts beside it.
    """

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._limit = whole_blocks(config.context_length)
        shape = (config.n_layers, 2, max(2, batch_size), config.sizes.n_kv_heads, BLOCK, config.d_head)
        self.store = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths: Int64[np.ndarray, " batch"] = np.zeros(batch_size, np.int64)

    def make_room(self, end: int) -> None:
        """Have columns for `end` positions of the longest text."""
        if end > (have := self.store.shape[4]):
            shape = list(self.store.shape)
            # A GPU has recorded a step for these columns. With twice as many, the next record serves longer.
            shape[4] = whole_blocks(end) if self._is_on_cpu else min(max(2 * have, whole_blocks(end)), self._limit)
            store = self.store.new_zeros(shape)
            store[..., :have, :] = self.store
            self.store = store

    def give_up_room(self) -> None:
        """On a CPU, keep no columns that no text fills."""
        used = max(BLOCK, whole_blocks(int(self.lengths.max())))
        if self._is_on_cpu and used < self.store.shape[4]:
            self.store = self.store[..., :used, :].contiguous()

    def rewind(self, n_tokens: Int64[np.ndarray, " batch"] | int) -> None:
        """Forget the last tokens of each row; others may then be read in their place."""
        assert np.all((np.asarray(n_tokens) >= 0) & (n_tokens <= self.lengths)), (
            f"{n_tokens} of {self.lengths} positions"
        )
        self.lengths = self.lengths - n_tokens

    def select(self, rows: Sequence[int]) -> None:
        """Keep these texts, in this order; a text may be repeated. Those that keep their place cost nothing."""
        moved = np.array([place for place, row in enumerate(rows) if place != row], np.int64)
        used = whole_blocks(int(self.lengths[list(rows)].max()))
        if len(moved):
            copies = self.store[:, :, torch.from_numpy(np.asarray(rows)[moved]), :, :used]
            if len(rows) > self.store.shape[2]:
                old, shape = self.store, list(self.store.shape)
                shape[2] = len(rows)
                self.store = self.store.new_zeros(shape)
                self.store[:, :, : old.shape[2], :, :used] = old[..., :used, :]
            self.store[:, :, torch.from_numpy(moved), :, :used] = copies
        self.lengths = self.lengths[list(rows)]
        self.give_up_room()

    @property
    def _is_on_cpu(self) -> bool:
        return self.store.device.type == "cpu"


class LayerCache(NamedTuple):
    """What attention reads of a layer in a cache, and where new tokens go: views of its store."""

    keys: Float[Tensor, "batch_kv_heads d_head total"]
    values: Float[Tensor, "batch_kv_heads total d_head"]
    columns: Float[Tensor, "batch total 2 n_kv_heads d_head"] | Float[Tensor, "2 1 n_kv_heads d_head"]


def layer_caches(
    store: Float[Tensor, "n_layers 2 batch n_kv_heads total d_head"], place: int | None
) -> list[LayerCache]:
    """The caches of all layers. If one token of one text is new, its place gives the one column to write."""
    keys, values = store.flatten(2, 3).unbind(1)
    columns = store.permute(0, 2, 4, 1, 3, 5) if place is None else store.select(4, place)
    return list(map(LayerCache, keys.mT.unbind(), values.unbind(), columns.unbind()))


def whole_blocks(n: int) -> int:
    """The least multiple of a block that is n or more."""
    return -(-n // BLOCK) * BLOCK
