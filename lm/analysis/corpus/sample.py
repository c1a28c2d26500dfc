"""The part of a corpus that the analysis looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lm.analysis.corpus.copies import copied
from lm.analysis.corpus.words import Vocabulary, WordArray
from lm.config.special_tokens import END_OF_TEXT

_COMPARED_CHARACTERS = 8000  # of one document
_SEPARATOR = f"\n{END_OF_TEXT}\n".encode()
_PIECES = 32  # places of a large file that are read
_LONGEST_BYTES = 2**20  # of one document


@dataclass(frozen=True)
class CorpusSample:
    """The documents of a corpus that the analysis looks at: all of a small one, a part of a large one.

    Attributes:
        train, valid: the documents.
        whole: whether `train` is all of the training text.
        n_compared: how many documents of `valid` stand beside what a model writes, at most half of them.
    """

    train: Sequence[str]
    valid: Sequence[str]
    whole: bool
    n_compared: int = 200

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The numbers of words."""
        return Vocabulary()

    @cached_property
    def train_words(self) -> WordArray:
        """The words of `train`."""
        return self.vocabulary.number(self.train)

    @cached_property
    def compared_texts(self) -> list[str]:
        """The first documents of `valid`; of a long one, the first characters."""
        return [text[:_COMPARED_CHARACTERS] for text in self.valid[: self._n_compared]]

    @cached_property
    def reference_texts(self) -> list[str]:
        """As many documents that come after these, in the same way."""
        return [text[:_COMPARED_CHARACTERS] for text in self.valid[self._n_compared : 2 * self._n_compared]]

    @property
    def _n_compared(self) -> int:
        return min(self.n_compared, (len(self.valid) + 1) // 2)

    @cached_property
    def compared(self) -> WordArray:
        """The words of `compared_texts`."""
        return self.vocabulary.number(self.compared_texts)

    @cached_property
    def compared_copies(self) -> Int64[np.ndarray, " n"]:
        """How many words from each word of `compared` on stand in a row in `train` too."""
        return copied(self.compared.ids, self.train_words.ids)

    @property
    def named(self) -> str:
        """The training text in words, for what is said of it."""
        return "the training text" if self.whole else f"{len(self.train):,} documents of the training text"


def read_sample(train: Path, valid: Path, *, max_train_bytes: int, max_valid_bytes: int) -> CorpusSample:
    """About so many bytes of two corpus files, or all of them; see `read_part`."""
    return CorpusSample(
        read_part(train, max_train_bytes), read_part(valid, max_valid_bytes), train.stat().st_size <= max_train_bytes
    )


def read_part(path: Path, max_bytes: int) -> list[str]:
    """The documents of a corpus file if it has at most `max_bytes`, otherwise those that begin in pieces of it.

    The pieces are of one size and stand evenly in the file, so that each document is as likely to be taken, whatever
    its length. Of a document longer than 1 MiB, the first 1 MiB counts.
    """
    size = path.stat().st_size
    n_pieces = 1 if size <= max_bytes else _PIECES
    length = min(size, max_bytes // n_pieces)
    texts: list[str] = []
    with path.open("rb") as file:
        for piece in range(n_pieces):
            start = piece * (size - length) // max(1, n_pieces - 1)
            file.seek(max(0, start - len(_SEPARATOR)))
            data = file.read(length + min(start, len(_SEPARATOR)) + _LONGEST_BYTES)
            at = 0 if start == 0 else data.find(_SEPARATOR) + len(_SEPARATOR)
            if start and at < len(_SEPARATOR):
                continue  # no document begins here
            last = length + min(start, len(_SEPARATOR))
            while at < last:
                end = data.find(_SEPARATOR, at)
                text = data[at : end if end >= 0 else len(data)][:_LONGEST_BYTES].decode(errors="ignore")
                texts += [text] if text else []
                if end < 0:
                    break
                at = end + len(_SEPARATOR)
    return texts
