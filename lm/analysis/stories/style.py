"""Measures of one text: loops, names, reading ease."""

import re
from collections import Counter

from lm.analysis.texts import Words

_LONGEST_LOOP = 30  # words of the part that comes again and again
_LEAST_LOOP = 12  # words of all of it
_SENTENCE_END = re.compile(r"[.!?…]+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_VOWELS = re.compile(r"[aeiouy]+")


def ends_in_a_loop(text: Words) -> bool:
    """Whether the last words are a part of at most 30 words three times in a row or more, 12 words at least."""
    for period in range(1, min(_LONGEST_LOOP, len(text) // 3) + 1):
        length = period
        while length < len(text) and text[-1 - length] == text[-1 - length + period]:
            length += 1
        if length >= max(3 * period, _LEAST_LOOP):
            return True
    return False


def names(text: str) -> Counter[str]:
    """The names in a text and how often each stands there.

    A name is a word with a capital that stands within a sentence somewhere, the word I aside, so only for languages
    with such names. Where a sentence or a quotation begins, every word has a capital.
    """
    inside = set()
    for match in _WORD.finditer(text):
        word = match.group()
        before = text[: match.start()].rstrip()
        continues = bool(before) and (before[-1].isalnum() or before[-1] in ",;")
        if word[0].isupper() and word[1:].islower() and continues:
            inside.add(word.removesuffix("'s").removesuffix("’s"))
    found = (word.removesuffix("'s").removesuffix("’s") for word in _WORD.findall(text))
    return Counter(word for word in found if word in inside)


def names_used_again(text: str) -> float | None:
    """The share of the names in a text that stand there twice or more: None without names.

    Who forgets whom a story is about brings in names that never come again.
    """
    counts = names(text)
    return sum(count > 1 for count in counts.values()) / len(counts) if counts else None


def reading_ease(text: str) -> float | None:
    """Flesch 1948: 206.835 - 1.015 words / sentence - 84.6 syllables / word; 100 is very easy, 0 very hard English.

    None for a text without words. A sentence ends at marks out of .!?… or with the text.
    """
    spoken = _WORD.findall(text)
    if not spoken:
        return None
    n_sentences = sum(bool(_WORD.search(part)) for part in _SENTENCE_END.split(text))
    n_syllables = sum(map(syllables, spoken))
    return 206.835 - 1.015 * len(spoken) / n_sentences - 84.6 * n_syllables / len(spoken)


def syllables(word: str) -> int:
    """The syllables of an English word by a rule: groups of vowels, without a silent e at the end, one at least.

    >>> [syllables(word) for word in ("cat", "little", "cake", "the", "banana", "looked", "wanted")]
    [1, 2, 1, 1, 3, 1, 2]
    """
    word = word.lower()
    count = len(_VOWELS.findall(word))
    silent = re.search(r"[^aeiouyl]e$|[aeiouy]le$|[^aeioutdy]ed$|[^aeiousxzhcg]es$", word)
    return max(1, count - bool(silent))
