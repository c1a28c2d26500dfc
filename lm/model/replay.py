"""A step of generation that a GPU repeats without the processor: a CUDA graph.

A small model has some hundred kernels of a few microseconds each. Starting them one by one takes longer than they do.
A graph records them once, with the addresses of their inputs, and starts all of them together.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.model.cache import KeyValueCache
from lm.model.reader import Reader


class Replay:
    """Reads one token of each of the first `batch_size` rows of a cache."""

    def __init__(self, reader: Reader, cache: KeyValueCache, batch_size: int) -> None:
        self.batch_size, self._cache_store = batch_size, cache.store
        store = cache.store[:, :, :batch_size]
        self._ids = torch.zeros(batch_size, 1, dtype=torch.int64, device=reader.device)
        # Until the first call, all that is recorded goes into the last column, which is written anew before it is read.
        self._positions = torch.full_like(self._ids, min(store.shape[4], reader.config.context_length) - 1)

        def step() -> tuple[Tensor, Tensor]:
            hidden = reader.states(self._ids, self._positions, store)
            return hidden, reader.logits(hidden)

        # Libraries set themselves up in a first run, which must not be recorded.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._hidden, self._logits = step()

    def fits(self, cache: KeyValueCache, batch_size: int) -> bool:
        """Whether it can still read so many rows of this cache, and is not more than twice as large as needed."""
        return cache.store is self._cache_store and self.batch_size // 2 <= batch_size <= self.batch_size

    def read(
        self, ids: Int[Tensor, "batch 1"], positions: Int[Tensor, "batch 1"]
    ) -> tuple[Float[Tensor, "batch 1 d_model"], Float[Tensor, "batch 1 vocab"]]:
        """What the head reads at the new tokens, and its logits.

        Rows beyond the batch are computed too; nobody reads them.
        """
        n = len(ids)
        self._ids[:n].copy_(ids, non_blocking=True)
        self._positions[:n].copy_(positions, non_blocking=True)
        self._graph.replay()
        return self._hidden[:n].clone(), self._logits[:n].clone()
