"""Characters as tokens."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.definition import UNKNOWN, by_id, read_special_tokens, write_characters
from lm.tokenizer.encoder import Ids
from lm.tokenizer.tokenizer import Tokenizer

# Python's decoder can replace a byte that is not UTF-8 by a lone surrogate, which no text holds.
_BOUNDARY_CODE = ord(BOUNDARY.decode(errors="surrogateescape"))


class CharacterTokenizer(Tokenizer):
    """Makes each character a token. An unknown character becomes U+FFFD.

    Attributes:
        tokens: the text of each id.
    """

    def __init__(self, tokens: Sequence[str], special_tokens: dict[str, int], definition: str | None = None) -> None:
        """The tokenizer of tokens, by id: characters, one of them U+FFFD, and the special tokens.

        Raises:
            ValueError: when a token that is not special is not one character, or U+FFFD is missing.
        """
        super().__init__(definition or write_characters(tokens, special_tokens), len(tokens), special_tokens)
        self.tokens = list(tokens)
        id_of = {token: id for id, token in enumerate(tokens) if token not in special_tokens}
        if UNKNOWN not in id_of or any(len(character) != 1 for character in id_of):
            raise ValueError("model.vocab: must hold U+FFFD, and only single characters beside the special tokens")
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
        """The ids of texts in UTF-8. `BOUNDARY` ends each text and becomes `end_id`: (n,)."""
        text = block.decode(errors="surrogateescape").encode("utf-32-le", errors="surrogatepass")
        ids: Ids = self._id_of_code[np.frombuffer(text, dtype="<u4")]
        return ids

    def last_cut(self, text: bytes) -> int:
        """The last place where cutting a text keeps its ids the same, whatever text follows; 0 if there is none."""
        cut = len(text) - 1
        while cut > 0 and text[cut] & 0xC0 == 0x80:
            cut -= 1  # to the first byte of the last character, which may be incomplete
        return max(cut, 0)

    def _token_bytes(self, id: int) -> bytes:
        return self.tokens[id].encode()
