"""Texts that a `Reader` has read, and goes on with."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lm.model.cache import KeyValueCache, whole_blocks
from lm.model.reader import Reader
from lm.model.replay import Replay

_TOKENS_AT_ONCE = 1024  # longer texts are read in pieces, so that their attention scores stay small


class CachedSession:
    """A `lm.generation.session.Session` that keeps what it has read in a key/value cache.

    On a CPU with oneDNN, in fp32, bf16, int8 or int4, the logits of a row do not depend on the other rows, to the last
    bit: each prompt is read alone, products of matrices treat each row alike, and attention reads whole blocks.
    """

    def __init__(self, reader: Reader, batch_size: int) -> None:
        self._reader, self._batch_size = reader, batch_size
        self._cache = KeyValueCache(reader.config, batch_size, reader.device, reader.cache_dtype)
        self._replay: Replay | None = None

    @property
    def lengths(self) -> Int64[np.ndarray, " batch"]:
        """How many positions of each text have been read."""
        return self._cache.lengths

    @property
    def length(self) -> int:
        """How many positions of the longest text have been read."""
        return int(self._cache.lengths.max())

    def read(
        self, ids: Int64[np.ndarray, "batch seq"], last: int | None = None
    ) -> Float[Tensor, "batch positions vocab"]:
        """The logits of the token after each id, or after each of the `last` ids. The ids continue the texts."""
        return self._states_and_logits(ids, last)[1]

    def read_states(
        self, ids: Int64[np.ndarray, "batch seq"]
    ) -> tuple[Float[Tensor, "batch seq d_model"], Float[Tensor, "batch 1 vocab"]]:
        """What the head reads at each id, and the logits of the token after the last one."""
        hidden, logits = self._states_and_logits(ids, 1)
        return hidden.clone(), logits

    def refill(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Let these rows forget what they have read, and read these texts instead, which may be empty."""
        for row in rows:
            self._cache.lengths[row] = 0
        for group in self._groups(rows, texts):
            ids = np.array([texts[place] for place in group], np.int64)
            self._read(ids, [rows[place] for place in group])
        self._cache.give_up_room()

    def rewind(self, n_positions: Int64[np.ndarray, " batch"] | int) -> None:
        """Forget the last `n_positions` positions of every text, or of each text its own number."""
        self._cache.rewind(n_positions)

    def select(self, rows: Sequence[int]) -> None:
        """Continue with these texts, in this order. A text may be chosen several times, or not at all."""
        self._cache.select(rows)

    def _groups(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The places of texts that are read together: on a CPU each alone, elsewhere those of one length."""
        if self._reader.device.type == "cpu":
            return [[place] for place, text in enumerate(texts) if text]
        by_length: dict[int, list[int]] = {}
        for place, text in enumerate(texts):
            by_length.setdefault(len(text), []).append(place)
        return [places for length, places in by_length.items() if length]

    @torch.no_grad()
    def _states_and_logits(self, ids: Int64[np.ndarray, "batch seq"], last: int | None) -> tuple[Tensor, Tensor]:
        """What the head reads at ids that continue all rows, and its logits after them or after the `last` of them."""
        assert len(ids) == len(self.lengths), f"{len(ids)} rows of ids for {len(self.lengths)} texts"
        if self._reader.device.type == "cuda" and ids.shape[1] == 1:
            return self._replayed(ids)
        hidden = self._read(ids, slice(len(ids)))
        return hidden, self._reader.logits(hidden if last is None else hidden[:, -last:])

    @torch.no_grad()
    def _read(self, ids: Int64[np.ndarray, "batch seq"], rows: slice | list[int]) -> Tensor:
        """The hidden states of ids that continue these rows."""
        piece = max(1, _TOKENS_AT_ONCE // len(ids))
        pieces = [self._piece(ids[:, at : at + piece], rows) for at in range(0, ids.shape[1], piece)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)

    def _replayed(self, ids: Int64[np.ndarray, "batch 1"]) -> tuple[Tensor, Tensor]:
        """The same for one more token of each text, by a CUDA graph."""
        reader, cache, places = self._reader, self._cache, self._cache.lengths[:, None]
        assert places.max() < reader.config.context_length, f"{places.max()} positions have been read"
        cache.make_room(int(places.max()) + 1)
        if self._replay is None or not self._replay.fits(cache, len(ids)):
            self._replay = None  # its memory first
            self._replay = Replay(reader, cache, len(ids))
        read = self._replay.read(torch.from_numpy(np.stack([ids, places])))
        cache.lengths = cache.lengths + 1
        return read

    def _piece(self, ids: Int64[np.ndarray, "batch seq"], rows: slice | list[int]) -> Tensor:
        cache, device, limit = self._cache, self._reader.device, self._reader.config.context_length
        starts = cache.lengths[rows]
        ends = starts + ids.shape[1]
        assert ends.max() <= limit, f"{ends.max()} positions in a context of {limit}"
        cache.make_room(int(ends.max()))
        positions = torch.from_numpy(starts[:, None] + np.arange(ids.shape[1])).to(device)
        new = torch.from_numpy(ids).to(device)
        if isinstance(rows, slice):
            hidden = self._reader.states(new, positions, cache.store[:, :, rows])
        else:  # in a store of their own, which has the columns of these texts only
            columns, places = cache.store[..., : whole_blocks(int(ends.max())), :], torch.tensor(rows).to(device)
            store = columns.index_select(2, places)
            hidden = self._reader.states(new, positions, store)
            columns[:, :, places] = store
        cache.lengths[rows] = ends
        return hidden
