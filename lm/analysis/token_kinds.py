"""Kinds of tokens that a model learns one after the other, told apart by what stands in the text."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from lm.tokenizer.tokenizer import Tokenizer

FIRST, INSIDE, PUNCTUATION = "first token of a word", "inside a word", "punctuation"
NEW_NAME, KNOWN_NAME, END = "name, first time", "name, said before", "end of the text"
KINDS = (FIRST, INSIDE, PUNCTUATION, NEW_NAME, KNOWN_NAME, END)
_ENDS_SENTENCE = ".!?\n\"'”’"


def token_kinds(tokenizer: Tokenizer, ids: Integer[np.ndarray, " n"]) -> Sequence[str | None]:
    """The kind of each token of a document; None for white space alone."""
    return kinds_of(
        [
            None if id == tokenizer.end_id else tokenizer.token_bytes(id).decode("utf-8", "replace")
            for id in ids.tolist()
        ]
    )


def kinds_of(texts: Sequence[str | None]) -> Sequence[str | None]:
    """The kind of each token by its text, which is None for the end token.

    A name is a word with a capital letter that does not begin a sentence, and is not "I". It was said before if its
    first token stands earlier in the document. A word goes on where a letter or digit follows another one.

    >>> kinds_of(["Once", ",", " L", "ily", None])
    ['first token of a word', 'punctuation', 'name, first time', 'inside a word', 'end of the text']
    """
    kinds: list[str | None] = []
    before, seen = "", set[str]()
    for text in texts:
        if text is None:
            kinds.append(END)
            before, seen = "", set()
            continue
        kinds.append(_kind(text, before, text in seen))
        before = (before + text)[-8:]
        seen.add(text)
    return kinds


def _kind(text: str, before: str, was_said: bool) -> str | None:
    word = text.strip()
    if not word:
        return None
    if not any(map(_is_of_a_word, word)):
        return PUNCTUATION
    if _is_of_a_word(text[0]) and before and _is_of_a_word(before[-1]):
        return INSIDE
    begins_sentence = not before.rstrip(" ") or before.rstrip(" ")[-1] in _ENDS_SENTENCE
    if word[0].isupper() and word != "I" and not begins_sentence:
        return KNOWN_NAME if was_said else NEW_NAME
    return FIRST


def _is_of_a_word(character: str) -> bool:
    """Letters, digits, marks over letters, and what stands for bytes that are no whole character."""
    return unicodedata.category(character)[0] in "LNM" or character == "\ufffd"
