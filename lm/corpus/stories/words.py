"""Weighted lists of words, and the forms a word can take in a sentence."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import log2

PRONOUNS = {
    "he": {"he": "he", "his": "his", "him": "him", "himself": "himself"},
    "she": {"he": "she", "his": "her", "him": "her", "himself": "herself"},
    "they": {"he": "they", "his": "their", "him": "them", "himself": "themselves"},
}

_VOWEL_SPELLED_CONSONANTS = ("uni", "use", "uku", "one", "eu")  # a unicorn, a useful thing, a one-eyed cat
_SILENT_H = ("hour", "honest", "heir")

Word = dict[str, str]  # form -> text, see `word`


class Weighted:
    """A choice of one in n, where option k (from 1) has weight 1 / (k + 4): the first are common, the tail is long.

    `bounds` are the inner n - 1 borders of the options in [0, 1), `bits` is -log2 of each option's probability.
    """

    def __init__(self, n: int, weights: Sequence[float] | None = None) -> None:
        weights = weights or [1 / (rank + 4) for rank in range(1, n + 1)]
        assert len(weights) == n
        total = sum(weights)
        self.bounds = [border / total for border in accumulate(weights)][:-1]
        self.bits = [-log2(weight / total) for weight in weights]


class WordList(Weighted):
    """Words of one kind, the most common first."""

    def __init__(self, words: Iterable[Word]) -> None:
        self.words = tuple(words)
        super().__init__(len(self.words))


def word(text: str, **fields: str) -> Word:
    """All forms of a word and of its fields.

    The plain text stands under "", a field under its name. "^" in front of a key capitalises, "a " adds the article and
    "A " the capitalised article:

    >>> owl = word("owl", sound="hoot")
    >>> owl["^"], owl["A "], owl["a sound"]
    ('Owl', 'An owl', 'a hoot')
    """
    forms = {}
    for field, value in {"": text, **fields}.items():
        forms[field] = value
        forms["^" + field] = value[0].upper() + value[1:]
        forms["a " + field] = f"{article(value)} {value}"
        forms["A " + field] = f"{article(value).capitalize()} {value}"
    return forms


def article(text: str) -> str:
    """The indefinite article before a text, by its first sound."""
    vowel = text[0].lower() in "aeiou" and not text.lower().startswith(_VOWEL_SPELLED_CONSONANTS)
    return "an" if vowel or text.lower().startswith(_SILENT_H) else "a"


def words(text: str) -> WordList:
    """A list from words separated by commas; line breaks count as blanks."""
    return WordList(word(entry) for entry in _entries(text))


def people(pronoun: str, text: str) -> WordList:
    """A list of names that go with one of the `PRONOUNS`."""
    return WordList(word(entry, **PRONOUNS[pronoun]) for entry in _entries(text))


def table(columns: str, text: str) -> WordList:
    """A list with one word per line, followed by its fields: `owl | hoot`.

    `columns` names the fields the same way, without the word itself. A column `pronoun` gives the four pronouns.
    """
    names = [name.strip() for name in columns.split("|")]
    rows = []
    for line in text.strip().splitlines():
        first, *rest = (cell.strip() for cell in line.split("|"))
        assert len(rest) == len(names), f"{line.strip()!r} must have the columns {columns}"
        fields = dict(zip(names, rest, strict=True))
        pronoun = fields.pop("pronoun", None)
        rows.append(word(first, **fields, **(PRONOUNS[pronoun] if pronoun else {})))
    return WordList(rows)


def _entries(text: str) -> list[str]:
    return [" ".join(entry.split()) for entry in text.split(",")]
