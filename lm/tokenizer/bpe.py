"""Byte-level byte-pair encoding, the tokenizer of GPT-2."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from lm.tokenizer.definition import read_bpe, write_bpe
from lm.tokenizer.encoder import Encoder, Ids
from lm.tokenizer.merges import Merges
from lm.tokenizer.splitting import PATTERN, last_cut
from lm.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tiktoken


class BpeTokenizer(Tokenizer):
    """Splits text into words and merges their bytes in the order learned (Radford et al. 2019, section 2.2).

    Attributes:
        tokens: the bytes of each id.
        merges: the pairs, and what each becomes.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        pairs: Sequence[tuple[int, int]],
        special_tokens: dict[str, int],
        definition: str | None = None,
    ) -> None:
        """The tokenizer of tokens, by id, and pairs, in order; `definition` is its tokenizer.json, if there is one."""
        super().__init__(definition or write_bpe(tokens, pairs, special_tokens), len(tokens), special_tokens)
        self.tokens = list(tokens)
        id_of = self._ordinary_ids()
        self.merges = Merges(list(pairs), [id_of[tokens[left] + tokens[right]] for left, right in pairs])

    @classmethod
    def read(cls, values: dict[str, Any], definition: str) -> Self:
        """The tokenizer of a tokenizer.json for which `is_bpe` holds."""
        return cls(*read_bpe(values), definition)

    def encode_block(self, block: bytes) -> Ids:
        """The ids of texts in UTF-8. `BOUNDARY` ends each text and becomes `end_id`: (n,)."""
        return self._encoder.encode(block)

    def last_cut(self, text: bytes) -> int:
        """The last place where cutting a text keeps its ids the same, whatever text follows; 0 if there is none."""
        return last_cut(text)

    def to_tiktoken(self, name: str = "storyline") -> "tiktoken.Encoding":
        """The same tokenizer as an encoding of `tiktoken`.

        Raises:
            ValueError: when the merges are not in the order of the ids they make, because tiktoken has no other order,
                or when they do not build each token from its bytes.
        """
        import tiktoken

        products = self.merges.products
        if any(before >= after for before, after in pairwise(products)):
            raise ValueError("merges: must be in the order of the ids they make, for tiktoken")
        # tiktoken merges any neighbours that spell a token. So our merges must build each token from its bytes.
        words = [token for token in self._ordinary_ids() if token]
        data = np.frombuffer(b"".join(words), dtype=np.uint8)
        _, counts = self.merges.merge_words(self._id_of_byte()[data], np.array([len(word) for word in words]))
        if unreached := [word for word, count in zip(words, counts, strict=True) if count > 1]:
            raise ValueError(
                f"merges: must build each token from its bytes, for tiktoken, got several tokens for {unreached[0]!r}"
            )
        return tiktoken.Encoding(
            name, pat_str=PATTERN, mergeable_ranks=self._ordinary_ids(), special_tokens=self.special_tokens
        )

    def _ordinary_ids(self) -> dict[bytes, int]:
        special = set(self.special_tokens.values())
        return {token: id for id, token in enumerate(self.tokens) if id not in special}

    def _token_bytes(self, id: int) -> bytes:
        return self.tokens[id]

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.merges, self._id_of_byte(), boundary_id=self.end_id, dtype=self.dtype)

    def _id_of_byte(self) -> NDArray[np.int32]:
        id_of = self._ordinary_ids()
        return np.array([id_of[bytes([byte])] for byte in range(256)], dtype=np.int32)
