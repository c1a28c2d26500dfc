"""The two splits of a corpus: which text is held out, and where the training documents end."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from lm.config.data import DataConfig
from lm.corpus.document import Document, Split, bare, split_documents
from lm.corpus.readers import NullRows

Texts = Callable[[], Iterable[str]]  # gives the texts of a source from the start, at every call

END_OF_THE_TEXT = "the last part of the text"  # in the facts, when it is held out

_AT_ONCE = 2**20  # characters of a long text, so that it is not copied as a whole
_ASCII = re.compile(r"[\0-\x7f]")
_ASCII_WHITE_SPACE = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f "


def text_key(text: str) -> int:
    """64 bits that tell texts apart, but not if they differ only in white space, case or Unicode form.

    They are the first 64 bits of the SHA-256 of the text in UTF-8, after full case folding and NFKC, without white
    space. Unicode keeps both steps stable, so every Python from 3.11 on gives the same bits for text of Unicode 14.
    """
    digest = hashlib.sha256()
    for part in _parts(text):
        if part.isascii():  # much faster, with the same result
            digest.update(part.lower().encode().translate(None, _ASCII_WHITE_SPACE))
        else:
            digest.update(_encode("".join(unicodedata.normalize("NFKC", part.casefold()).split())))
    return int.from_bytes(digest.digest()[:8], "big")


def is_held_out(text: str, fraction: float) -> bool:
    """Whether a document belongs to the validation split: when its `text_key`, divided by 2**64, is below `fraction`.

    So the answer depends on the text alone: a copy never lands in the other split, the order of the documents does not
    matter, and a larger fraction still holds out every document that a smaller fraction held out.
    """
    return text_key(text) < fraction * 2**64


def split_texts(train: Texts, valid: Texts | None, config: DataConfig, facts: dict[str, object]) -> Iterator[Document]:
    """The documents of both splits. When the last one has been taken, `facts` says where validation came from.

    - If `valid` is given, its documents come first. `facts` counts those that are in the training text too.
    - Otherwise `config.valid_fraction` of the documents of `train` are held out, chosen by `is_held_out`.
    - If that would leave a split empty, as with a single document, the last `config.valid_fraction` of all characters
      are held out, cut at a document or at a line if one is near. A copy of an earlier document is then left out,
      because it could stand in both splits.

    `config.max_documents` and `config.max_bytes` (of UTF-8 text) limit the training documents: the pass stops before
    the first document beyond a limit, and reads no further. Documents held out by content do not count toward them.

    A text is cut at each `<|endoftext|>` and loses its outer line breaks before it is hashed and counted. So a document
    here is exactly a document of the file it is written to.

    Raises:
        ValueError: if a split gets no document at all.
    """
    if valid is not None:
        documents, place = _given(train, valid, config, facts), "data.valid"
    elif _content_fills_both(train, config):
        documents, place = _by_content(train, config, facts), "data.valid_fraction"
    else:
        documents, place = _by_position(train, config, facts), "data.valid_fraction"
    counts: Counter[Split] = Counter()
    for document in documents:
        counts[document.split] += 1
        yield document
    if not counts["train"]:
        raise ValueError(f"data: must give at least one document for training, got 0 ({counts['valid']} held out)")
    if not counts["valid"]:
        got = "" if valid is not None else f" with {config.valid_fraction}"
        raise ValueError(f"{place}: must give at least one document for validation, got 0{got}")


def _given(train: Texts, valid: Texts, config: DataConfig, facts: dict[str, object]) -> Iterator[Document]:
    n_valid: Counter[int] = Counter()  # documents of each key
    for text in _documents(valid):
        n_valid[text_key(text)] += 1
        yield Document("valid", text)
    in_train: set[int] = set()
    for document in _limited(train, config):
        if (key := text_key(document.text)) in n_valid:
            in_train.add(key)
        yield document
    facts["validation"] = "given"
    facts["n_valid_documents_in_train"] = sum(n_valid[key] for key in in_train)


def _content_fills_both(train: Texts, config: DataConfig) -> bool:
    """Whether holding out by content gives both splits a document. Reads only until they have one."""
    found: set[Split] = set()
    for document in _limited(train, config, config.valid_fraction):
        found.add(document.split)
        if len(found) == 2:
            return True
    return False


def _by_content(train: Texts, config: DataConfig, facts: dict[str, object]) -> Iterator[Document]:
    facts["validation"] = "documents held out by their content"
    return _limited(train, config, config.valid_fraction)


def _by_position(train: Texts, config: DataConfig, facts: dict[str, object]) -> Iterator[Document]:
    facts["validation"] = END_OF_THE_TEXT
    n_characters = sum(map(len, _distinct(train, config)))
    n_before = round(n_characters * (1 - config.valid_fraction))  # training characters from here on
    n_held = n_characters - n_before
    for i, text in enumerate(_distinct(train, config)):
        end = len(text) if n_before >= len(text) else _cut(text, n_before, n_held, whole=i > 0)
        n_before = max(0, n_before - len(text))
        if head := bare(text, 0, end):
            yield Document("train", head)
        if tail := bare(text, end):
            yield Document("valid", tail)


def _cut(text: str, place: int, n_held: int, whole: bool) -> int:
    """Where the held-out part starts: near `place`, and not so early that it becomes more than twice as long.

    The first of these that is possible: with the text (if `whole`), with a line, with a word, with any character.
    """
    earliest = place - n_held
    if whole and earliest <= 0:
        return 0
    for mark in ("\n", " "):
        if (start := text.rfind(mark, max(0, earliest), place + 1) + 1) > 0:
            return start
    return place


def _distinct(train: Texts, config: DataConfig) -> Iterator[str]:
    seen: set[int] = set()
    for document in _limited(train, config):
        if (key := text_key(document.text)) not in seen:
            seen.add(key)
            yield document.text


def counted(documents: Iterator[Document], nulls: Iterable[NullRows], facts: dict[str, object]) -> Iterator[Document]:
    """The same documents. At their end, `facts` says how many rows were skipped, if rows may be skipped."""
    yield from documents
    if any(split.skip for split in nulls):
        facts["n_null_rows"] = sum(split.n_skipped for split in nulls)


def _limited(train: Texts, config: DataConfig, held_out: float = 0.0) -> Iterator[Document]:
    """The documents up to the limits; `held_out` is the fraction that goes to validation by content."""
    n_documents = n_bytes = 0
    for text in _documents(train):
        if held_out and is_held_out(text, held_out):
            yield Document("valid", text)
            continue
        n_documents += 1
        n_bytes += sum(len(_encode(part)) for part in _parts(text))
        if config.max_bytes is not None and n_bytes > config.max_bytes:
            if n_documents == 1:
                rule = f"must be at least {n_bytes}, the size of the first document for training"
                raise ValueError(f"data.max_bytes: {rule}, got {config.max_bytes}")
            return
        yield Document("train", text)
        # Checked here too, because reading the next document may start a download.
        if n_documents == config.max_documents or n_bytes == config.max_bytes:
            return


def _documents(texts: Texts) -> Iterator[str]:
    return (document for text in texts() for document in split_documents(text))


def _parts(text: str) -> Iterator[str]:
    """A text in parts. None begins with a character that could combine with the one before it."""
    start = 0
    while start < len(text):
        found = _ASCII.search(text, start + _AT_ONCE)
        end = found.start() if found else len(text)
        yield text[start:end]
        start = end


def _encode(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")  # the bytes that the file will hold; JSON can hold lone surrogates
