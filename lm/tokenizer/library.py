"""Any tokenizer of Hugging Face `tokenizers` (here: the library), with the interface of ours."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models

from lm.corpus.text_file import BOUNDARY
from lm.system.messages import one_line
from lm.tokenizer.alphabet import unspell
from lm.tokenizer.decoding import ContextDecoding, Decoding, added
from lm.tokenizer.definition import by_id, pair_of
from lm.tokenizer.encoder import Ids
from lm.tokenizer.tokenizer import Tokenizer


class LibraryTokenizer(Tokenizer):
    """A tokenizer that is not one of ours: WordPiece, Unigram, BPE that splits in another way, and so on.

    Decoding may not give back the text that was encoded. A stream is encoded only after its end. Added tokens that are
    not special are found in any text. If a special token is in the model's own vocabulary and occurs in ordinary text,
    it becomes the unknown token there, or nothing if the model has no unknown token.
    """

    def __init__(self, values: dict[str, Any], definition: str) -> None:
        """The tokenizer that the library makes of a tokenizer.json, given by its values and its text."""
        self._tokenizer = open_library(values, definition)
        self._tokens = by_id(self._tokenizer.get_vocab())
        added = self._tokenizer.get_added_tokens_decoder()
        super().__init__(
            definition, len(self._tokens), {token.content: id for id, token in added.items() if token.special}
        )
        self._added = frozenset(added)
        self._decoders = _types(values.get("decoder"))
        self._ordinary = self._ordinary_ids(values["model"])

    @classmethod
    def read(cls, values: dict[str, Any], definition: str) -> Self:
        """The tokenizer of any tokenizer.json."""
        return cls(values, definition)

    def encode_block(self, block: bytes) -> Ids:
        """The ids of texts in UTF-8. `BOUNDARY` ends each text and becomes `end_id`: (n,).

        Raises:
            ValueError: when the model has no token for a text, and no unknown token.
        """
        texts = [text.decode() for text in block.split(BOUNDARY)[:-1]]
        end = [self.vocab_size]  # an id that the model never gives
        ids = np.fromiter(chain.from_iterable(chain(ids, end) for ids in self._encode(texts)), dtype=np.int64)
        ids = self._ordinary[ids]
        kept: Ids = ids[ids >= 0].astype(self.dtype)
        return kept

    def encode_batch(self, texts: Sequence[str], *, allow_special: bool = False) -> list[list[int]]:
        """The ids of each text. The library finds special tokens, and strips the space around them if they say so."""
        if not allow_special:
            return super().encode_batch(texts)
        self._tokenizer.encode_special_tokens = False
        try:
            return self._encode([text.encode().decode() for text in texts])  # raises for half a surrogate pair
        finally:
            self._tokenizer.encode_special_tokens = True

    def decode(self, ids: Iterable[int]) -> str:
        """The text that the library makes of ids, special tokens included.

        Raises:
            ValueError: when there is no such id.
        """
        ids = list(ids)
        for id in ids and (min(ids), max(ids)):
            self.token_bytes(id)  # raises if there is no such id, which the library would ignore
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def decoding(self, after: Sequence[int] = ()) -> Decoding:
        """Decodes ids one by one: gives what they add to the text of the ids in `after`."""
        if self._decoders == {"ByteLevel"}:
            return super().decoding(after)
        return ContextDecoding(self.decode, self.token_bytes, self._is_byte, after)

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """What each id adds to the text of those before it: its bytes.

        Raises:
            ValueError: when there is no such id.
        """
        return [self._piece(ids[max(0, i - 1) : i], id) for i, id in enumerate(ids)]

    def last_cut(self, text: bytes) -> int:
        """The last place where cutting a text keeps its ids the same, whatever text follows; 0 if there is none."""
        return 0

    def _stream_cut(self, text: str, allow_special: bool) -> int:
        return 0

    def _token_bytes(self, id: int) -> bytes:
        """What a token adds inside a text. A part of a character is given in bytes, if the decoder spells bytes."""
        token = self._tokens[id]
        if id in self._added:
            return token.encode()
        if "ByteLevel" in self._decoders:
            try:
                return unspell(token)
            except ValueError:
                return token.encode()
        if self._is_byte(id):
            return bytes.fromhex(token[3:5])
        once, twice = (self._tokenizer.decode([id] * n, skip_special_tokens=False) for n in (1, 2))
        return twice[len(once) :].encode()

    def _piece(self, before: Sequence[int], id: int) -> bytes:
        """What an id adds to the text that ends with the ids `before`."""
        if "ByteLevel" in self._decoders or self._is_byte(id):
            return self.token_bytes(id)
        return added(self.decode(before), self.decode([*before, id])).encode()

    def _is_byte(self, id: int) -> bool:
        """Whether a token stands for one byte of a character that the model does not know."""
        return "ByteFallback" in self._decoders and bool(re.fullmatch("<0x[0-9A-F]{2}>", self._tokens[id]))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"model: {error}") from None

    def _ordinary_ids(self, model: dict[str, Any]) -> NDArray[np.int64]:
        """The final id for each id that the model gives to ordinary text, -1 to drop it. The last entry ends a text."""
        unknown = model.get("unk_id")  # Unigram; the other models name a token
        if token := getattr(self._tokenizer.model, "unk_token", None):
            unknown = self._tokenizer.token_to_id(token)
        if unknown is None or unknown == self.end_id:
            unknown = -1
        ids = np.arange(self.vocab_size + 1)
        ids[list(self.special_tokens.values())] = unknown
        ids[self.vocab_size] = self.end_id
        return ids


def open_library(values: dict[str, Any], definition: str) -> tokenizers.Tokenizer:
    """The library's tokenizer of a tokenizer.json, given by its values and its text.

    Text that looks like a special token is ordinary text. Dropout, truncation and padding, which are for training, are
    off, so that a text always gives the same ids, and all of them.

    Raises:
        ValueError: when the library cannot read it.
    """
    _check_merges(values["model"])
    try:
        tokenizer = tokenizers.Tokenizer.from_str(definition)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, or panics
        raise ValueError(f"not a tokenizer.json: {one_line(error)}") from None
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    return tokenizer


def _check_merges(model: dict[str, Any]) -> None:
    """Raise ValueError where the library would panic instead of raising an error."""
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        return
    prefix = model.get("continuing_subword_prefix")
    n_prefix = len(prefix) if isinstance(prefix, str) else 0
    for i, merge in enumerate(merges):
        pair = pair_of(merge)
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            raise ValueError(f"merges[{i}]: must be two tokens, got {merge!r}")
        for token in (*pair, pair[0] + pair[1][n_prefix:]):
            if token not in vocab:
                raise ValueError(f"merges[{i}]: must join two tokens to a token, got no token {token!r}")


def _types(component: Any) -> set[str]:
    """The types of a component of a tokenizer.json and of its parts."""
    if component is None:
        return set()
    return {component.get("type")}.union(*map(_types, component.get("decoders", ())))
