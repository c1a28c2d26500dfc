"""Characters as tokens."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.definition import UNKNOWN, by_id, read_special_tokens, write_characters
from lm.tokenizer.encoder import Ids
from lm.tokenizer.tokenizer import Tokenizer

# Python's decoder can stand a lone surrogate, which no text holds, in for a byte that is no UTF-8.
_BOUNDARY_CODE = ord(BOUNDARY.decode(errors="surrogateescape"))


class CharacterTokenizer(Tokenizer):
    """Every character is a token; those it does not know are U+FFFD.

    Attributes:
        tokens: the text of each id.
    """

    def __init__(self, tokens: Sequence[str], special_tokens: dict[str, int], definition: str | None = None) -> None:
        """The tokenizer of these tokens by id: characters, U+FFFD among them, and the special ones.

        Raises:
            ValueError: when a token that is not special is more than a character, or U+FFFD is missing.
        """
        super().__init__(definition or write_characters(tokens, special_tokens), len(tokens), special_tokens)
        self.tokens = list(tokens)
        id_of = {token: id for id, token in enumerate(tokens) if token not in special_tokens}
        if UNKNOWN not in id_of or any(len(character) != 1 for character in id_of):
            raise ValueError("model.vocab: must hold single characters beside the special tokens, and U+FFFD")
        self._id_of_code = np.full(0x110000, id_of[UNKNOWN], dtype=self.dtype)
        for character, id in id_of.items():
            self._id_of_code[ord(character)] = id
        self._id_of_code[_BOUNDARY_CODE] = self.end_id

    @classmethod
    def read(cls, values: dict[str, Any], definition: str) -> Self:
        """The tokenizer of a tokenizer.json for which `is_characters` holds."""
        special_tokens = read_special_tokens(values)
        return cls(by_id({**values["model"]["vocab"], **special_tokens}), special_tokens, definition)

    def encode_block(self, block: bytes) -> Ids:
        """The ids of texts in UTF-8, each ended by `BOUNDARY`, with `end_id` for each of those: (n,)."""
        text = block.decode(errors="surrogateescape").encode("utf-32-le", errors="surrogatepass")
        ids: Ids = self._id_of_code[np.frombuffer(text, dtype="<u4")]
        return ids

    def last_cut(self, text: bytes) -> int:
        """The last place where a text can be cut in two that have the ids of the whole, whatever follows; or 0."""
        cut = len(text) - 1
        while cut > 0 and text[cut] & 0xC0 == 0x80:
            cut -= 1  # to the first byte of the last character, which may be cut short
        return max(cut, 0)

    def _token_bytes(self, id: int) -> bytes:
        return self.tokens[id].encode()
