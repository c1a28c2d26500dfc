"""A step of generation that a GPU repeats without the processor."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.model.cache import KeyValueCache
from lm.model.reader import Reader
from lm.system.recording import call_and_record


class Replay:
    """Reads one token of each of the first `batch_size` rows of a cache."""

    def __init__(self, reader: Reader, cache: KeyValueCache, batch_size: int) -> None:
        self.batch_size, self._cache_store = batch_size, cache.store
        store = cache.store[:, :, :batch_size]
        ids_and_places = torch.zeros(2, batch_size, 1, dtype=torch.int64, device=reader.device)
        # Until the first call, all that is recorded goes into the last column, which is written anew before it is read.
        ids_and_places[1] = min(store.shape[4], reader.config.context_length) - 1

        def step(ids_and_places: Tensor) -> tuple[Tensor, Tensor]:
            ids, places = ids_and_places
            hidden = reader.states(ids, places, store)
            return hidden, reader.logits(hidden)

        self._step = call_and_record(step, [ids_and_places])

    def fits(self, cache: KeyValueCache, batch_size: int) -> bool:
        """Whether it can still read so many rows of this cache, and is not more than twice as large as needed."""
        return cache.store is self._cache_store and self.batch_size // 2 <= batch_size <= self.batch_size

    def read(
        self, ids_and_places: Int[Tensor, "2 batch 1"]
    ) -> tuple[Float[Tensor, "batch 1 d_model"], Float[Tensor, "batch 1 vocab"]]:
        """What the head reads at new tokens of these ids at these places, and its logits.

        Rows beyond the batch are computed too; nobody reads them.
        """
        n = ids_and_places.shape[1]
        self._step.inputs[0][:, :n].copy_(ids_and_places, non_blocking=True)
        self._step.replay()
        hidden, logits = self._step.output
        return hidden[:n].clone(), logits[:n].clone()
