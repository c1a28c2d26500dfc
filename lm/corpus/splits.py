"""The two splits of a corpus: which document is held out, and where the training documents end."""

import hashlib
import io
from collections.abc import Iterable, Iterator

from lm.config.data import DataConfig
from lm.corpus.document import SEPARATOR, Document, Split, split_documents


def is_held_out(text: str, fraction: float) -> bool:
    """Whether a document belongs to the validation split.

    It does when the first 64 bits of the SHA-256 of its UTF-8 bytes, divided by 2**64, are below `fraction`. So the
    answer depends on the text alone: a duplicate never lands in both splits, the order of the documents does not
    matter, and a larger fraction still holds out every document that a smaller fraction held out.
    """
    digest = hashlib.sha256(_encode(text)).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split_texts(train: Iterable[str], valid: Iterable[str] | None, config: DataConfig) -> Iterator[Document]:
    """The documents of both splits in one pass: first those of `train`, then those of `valid`.

    If `valid` is None, `config.valid_fraction` of the documents of `train` are held out for validation.
    `config.max_documents` and `config.max_bytes` (of UTF-8 text) limit the training documents: the pass stops before
    the first document beyond a limit, and reads no further. Held-out documents do not count toward the limits.

    A text is cut at separator lines and loses its outer line breaks before it is hashed and counted. So a document
    here is exactly a document of the file it is written to.

    Raises:
        ValueError: if a split gets no document at all.
    """
    counts: dict[Split, int] = {"train": 0, "valid": 0}
    for document in _train_documents(train, config, held_out=valid is None):
        counts[document.split] += 1
        yield document
    for text in _documents(valid or ()):
        counts["valid"] += 1
        yield Document("valid", text)
    if not counts["train"]:
        raise ValueError(f"data: must give at least one document for training, got 0 ({counts['valid']} held out)")
    if not counts["valid"]:
        place = "data.valid" if valid is not None else "data.valid_fraction"
        got = "0" if valid is not None else f"0 of {counts['train']} with {config.valid_fraction}"
        raise ValueError(f"{place}: must give at least one document for validation, got {got}")


def _train_documents(train: Iterable[str], config: DataConfig, held_out: bool) -> Iterator[Document]:
    n_documents = n_bytes = 0
    for text in _documents(train):
        if held_out and is_held_out(text, config.valid_fraction):
            yield Document("valid", text)
            continue
        n_documents += 1
        n_bytes += len(_encode(text))
        if config.max_bytes is not None and n_bytes > config.max_bytes:
            if n_documents == 1:
                rule = f"must be at least {n_bytes}, the size of the first document for training"
                raise ValueError(f"data.max_bytes: {rule}, got {config.max_bytes}")
            return
        yield Document("train", text)
        # Checked here too, because reading the next document may start a download.
        if n_documents == config.max_documents or n_bytes == config.max_bytes:
            return


def _documents(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if SEPARATOR in text:
            yield from split_documents(io.StringIO(text, newline="\n"))
        elif (stripped := text.strip("\r\n")) and stripped.strip():
            yield stripped


def _encode(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")  # the bytes that the file will hold; JSON can hold lone surrogates
