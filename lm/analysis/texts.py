"""What tells sets of texts apart: how varied they are, how often they repeat themselves, how alike they are.

All of it counts words, so that models with different tokenizers can be compared. A measure is None where the texts are
too few or too short for it.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Words = Sequence[str]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_SMOOTHED = 0.1  # what stands for no match at all, as in the first method of Chen and Cherry 2014


@dataclass(frozen=True)
class Measures:
    """What a set of texts is like.

    Attributes:
        n_texts: how many there are.
        tokens_per_text: their mean length in tokens of the model.
        distinct_1, distinct_2: see `distinct`, of single words and of pairs.
        repetition_4: the mean of `repetition` over the texts, of four words in a row.
        self_bleu: see there.
        perplexity: see there, by the probabilities that the model itself gives to what it wrote.
        complete: the share of texts that ended themselves.
    """

    n_texts: int
    tokens_per_text: float
    distinct_1: float | None
    distinct_2: float | None
    repetition_4: float | None
    self_bleu: float | None
    perplexity: float | None
    complete: float

    @classmethod
    def of(cls, texts: Sequence[str], *, n_tokens: int, log_probability: float | None, n_complete: int) -> "Measures":
        """The measures of one or more texts, which have so many tokens and this log probability (nats) together."""
        split = [words(text) for text in texts]
        repeated = [share for text in split if (share := repetition(text, 4)) is not None]
        return cls(
            n_texts=len(texts),
            tokens_per_text=n_tokens / len(texts),
            distinct_1=distinct(split, 1),
            distinct_2=distinct(split, 2),
            repetition_4=sum(repeated) / len(repeated) if repeated else None,
            self_bleu=self_bleu(split),
            perplexity=perplexity(log_probability, n_tokens),
            complete=n_complete / len(texts),
        )


def perplexity(log_probability: float | None, n_tokens: int) -> float | None:
    """exp(-log probability / token): of how many equally likely tokens each one was chosen.

    `log_probability` is a sum of natural logarithms. None where it is not known, or if no number holds it.
    """
    if log_probability is None or not n_tokens:
        return None
    nats = -log_probability / n_tokens
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case.

    >>> words("“Don't go!” said Tom.")
    ['“', "don't", 'go', '!', '”', 'said', 'tom', '.']
    """
    return _WORD.findall(text.lower())


def distinct(texts: Iterable[Words], n: int) -> float | None:
    """The share of different ones among all sequences of n words: distinct-n, Li et al. 2016, arXiv:1510.03055.

    1: no sequence comes twice in these texts. The share falls as texts get longer, so compare texts of like length.
    """
    counts = Counter(gram for text in texts for gram in _grams(text, n))
    return len(counts) / counts.total() if counts else None


def repetition(text: Words, n: int) -> float | None:
    """The share of sequences of n words that have come before in the text: seq-rep-n, Welleck et al. 2019.

    0: nothing comes twice. A text that runs in circles comes near 1. See https://arxiv.org/abs/1908.04319, section 4.
    """
    share = distinct([text], n)
    return None if share is None else 1 - share


def self_bleu(texts: Sequence[Words], n: int = 4) -> float | None:
    """The mean BLEU of each text against all others: Self-BLEU, Zhu et al. 2018, https://arxiv.org/abs/1802.01886.

    1: all texts are the same. Near 0: no two have much in common. Texts without words are left out.
    """
    texts = [text for text in texts if text]
    if len(texts) < 2:
        return None
    sizes, matches = [*map(len, texts)], [_matches_elsewhere(texts, length) for length in range(1, n + 1)]
    return sum(
        _bleu(size, sizes[:i] + sizes[i + 1 :], [of_texts[i] for of_texts in matches[:size]])
        for i, size in enumerate(sizes)
    ) / len(texts)


def _matches_elsewhere(texts: Sequence[Words], n: int) -> list[int]:
    """Of each text, how many of its sequences of n words match in another text, as `bleu` counts them.

    The two highest counts of a sequence say how often another text has it at most, so each text is counted once.
    """
    counts = [Counter(_grams(text, n)) for text in texts]
    highest, second = Counter[Words](), Counter[Words]()
    for each in counts:
        for gram, count in each.items():
            if count > highest[gram]:
                highest[gram], second[gram] = count, highest[gram]
            elif count > second[gram]:
                second[gram] = count
    return [sum(second[gram] if count == highest[gram] else count for gram, count in each.items()) for each in counts]


def bleu(text: Words, references: Sequence[Words], n: int = 4) -> float:
    """How much of a text stands in the references too, from 0 to 1: BLEU, Papineni et al. 2002, equations 1 to 4.

    It is the geometric mean of the shares of sequences of 1 to n words that a reference has too, each counted at most
    as often as in the reference that has it most often. A text shorter than the reference nearest in length gets less.
    Where no sequence of some length matches, a tenth of one counts as a match (Chen and Cherry 2014, method 1), but a
    text that has no word in common with the references gets 0.

    Neither the text nor a reference may be empty. In a text of fewer than n words, sequences up to its length count.
    """
    matches = []
    for length in range(1, min(n, len(text)) + 1):
        most = Counter[Words]()
        for reference in references:
            most |= Counter(_grams(reference, length))
        matches.append((Counter(_grams(text, length)) & most).total())
    return _bleu(len(text), [*map(len, references)], matches)


def _bleu(size: int, references: Sequence[int], matches: Sequence[int]) -> float:
    """`bleu` of the lengths of a text and of its references, and the matches of its sequences of 1, 2, ... words."""
    if not matches[0]:
        return 0.0
    log_precision = 0.0
    for n, count in enumerate(matches, start=1):
        log_precision += math.log((count or _SMOOTHED) / (size - n + 1)) / len(matches)
    nearest = min(references, key=lambda length: (abs(length - size), length))
    return math.exp(log_precision + min(0.0, 1 - nearest / size))


def _grams(text: Words, n: int) -> list[Words]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
