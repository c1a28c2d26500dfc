"""The interface of all tokenizers: text to ids and back, one text, a batch or a stream."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Self

import numpy as np

from lm.config.special_tokens import END_OF_TEXT
from lm.corpus.text_file import BOUNDARY
from lm.system.files import replacing
from lm.tokenizer.decoding import ByteDecoding, Decoding
from lm.tokenizer.encoder import Ids

_STREAM_CHARACTERS = 2**16  # that a stream gathers before it encodes them


class Tokenizer(ABC):
    """Text to ids and back. Text that merely looks like a special token is ordinary text, unless a call allows it.

    Attributes:
        definition: the text of its tokenizer.json, which describes it completely.
        vocab_size: how many ids there are, special ones included.
        special_tokens: the id of each.
        end_id: the id of `<|endoftext|>`, which ends every document.
        dtype: of arrays of ids.
    """

    def __init__(self, definition: str, vocab_size: int, special_tokens: dict[str, int]) -> None:
        """Set the attributes.

        Raises:
            ValueError: when there is no `<|endoftext|>`.
        """
        if END_OF_TEXT not in special_tokens:
            raise ValueError(f"must have the special token {END_OF_TEXT}")
        self.definition = definition
        self.vocab_size = vocab_size
        self.special_tokens = special_tokens
        self.end_id = special_tokens[END_OF_TEXT]
        self.dtype: np.dtype[np.unsignedinteger[Any]] = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
        # If several start at the same place, the longest counts.
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._longest_special = len(longest_first[0])
        self._special = re.compile("|".join(re.escape(token) for token in longest_first))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the definition, not the caches."""
        return type(self).read, (json.loads(self.definition), self.definition)

    @classmethod
    @abstractmethod
    def read(cls, values: dict[str, Any], definition: str) -> Self:
        """The tokenizer of a tokenizer.json: its values and its text."""

    def save(self, path: Path) -> None:
        """Write the tokenizer.json."""
        with replacing(path) as file:
            file.write(self.definition.encode())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the tokenizer.json. Token files and models name their tokenizer by it."""
        return hashlib.sha256(self.definition.encode()).hexdigest()

    @abstractmethod
    def encode_block(self, block: bytes) -> Ids:
        """The ids of texts in UTF-8. `BOUNDARY` ends each text and becomes `end_id`: (n,)."""

    @abstractmethod
    def last_cut(self, text: bytes) -> int:
        """The last place where cutting a text keeps its ids the same, whatever text follows; 0 if there is none."""

    @abstractmethod
    def _token_bytes(self, id: int) -> bytes:
        """The bytes of a token. The caller has checked the id."""

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of a text; with `allow_special`, special tokens in it become their ids.

        Raises:
            UnicodeEncodeError: a ValueError, when the text holds half of a surrogate pair.
        """
        return self.encode_batch([text], allow_special=allow_special)[0]

    def encode_batch(self, texts: Sequence[str], *, allow_special: bool = False) -> list[list[int]]:
        """The ids of each text."""
        pieces: list[str] = []
        separators: list[int] = []  # what stands after each piece: a special token, or -1 for the end of a text
        for text in texts:
            start = 0
            for match in self._special.finditer(text) if allow_special else ():
                pieces.append(text[start : match.start()])
                separators.append(self.special_tokens[match.group()])
                start = match.end()
            pieces.append(text[start:])
            separators.append(-1)
        block = b"".join(piece.encode() + BOUNDARY for piece in pieces)
        ids = self.encode_block(block).astype(np.int64)
        ids[ids == self.end_id] = separators
        ends = np.flatnonzero(ids == -1)
        return [part[part != -1].tolist() for part in np.split(ids, ends + 1)[:-1]]

    def encode_iterable(self, chunks: Iterable[str], *, allow_special: bool = False) -> Iterator[int]:
        """The ids of a text that comes in chunks, cut anywhere; memory does not grow with the text.

        They are the ids that `encode` gives for the whole text.
        """
        chunks_held: list[str] = []
        n_held, wanted = 0, _STREAM_CHARACTERS
        for chunk in chunks:
            chunks_held.append(chunk)
            n_held += len(chunk)
            if n_held >= wanted:
                held = "".join(chunks_held)
                cut = self._stream_cut(held, allow_special)
                yield from self.encode(held[:cut], allow_special=allow_special)
                chunks_held = [held[cut:]]
                n_held = len(held) - cut
                wanted = max(_STREAM_CHARACTERS, 2 * n_held)
        yield from self.encode("".join(chunks_held), allow_special=allow_special)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens included; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: when there is no such id.
        """
        return b"".join(map(self.token_bytes, ids)).decode(errors="replace")

    def decode_iterable(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids that come one by one, in pieces: a character waits until all of its bytes have come.

        The pieces together are what `decode` gives.

        Raises:
            ValueError: when there is no such id.
        """
        decoding = self.decoding()
        for id in ids:
            if text := decoding.add(id):
                yield text
        if rest := decoding.rest(cut_off=False):
            yield rest

    def decoding(self, after: Sequence[int] = ()) -> Decoding:
        """Decodes ids one by one: gives what they add to the text of the ids in `after`."""
        return ByteDecoding(self.token_bytes, after)

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """What each id adds to the text of those before it: its bytes.

        Raises:
            ValueError: when there is no such id.
        """
        return [self.token_bytes(id) for id in ids]

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one token stands for inside a text.

        Raises:
            ValueError: when there is no such id.
        """
        if not 0 <= id < self.vocab_size:
            raise ValueError(f"id: must be from 0 to {self.vocab_size - 1}, got {id}")
        return self._token_bytes(id)

    def _stream_cut(self, text: str, allow_special: bool) -> int:
        """The last place where cutting a text keeps its ids the same, whatever text follows; 0 if there is none."""
        start, end = 0, len(text)
        if allow_special:
            end = max(0, len(text) - self._longest_special + 1)  # one that starts before is whole, and the longest
            starts_before = takewhile(lambda match: match.start() < end, self._special.finditer(text))
            start = max((match.end() for match in starts_before), default=0)
        ordinary = text[start : max(start, end)].encode()
        return start + len(ordinary[: self.last_cut(ordinary)].decode())
