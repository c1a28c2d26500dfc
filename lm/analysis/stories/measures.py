"""The measures of many texts, each with its standard error, and the same of validation text beside them."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lm.analysis.corpus.copies import longest_copy, novel_share
from lm.analysis.corpus.counts import hashes
from lm.analysis.corpus.sample import CorpusSample
from lm.analysis.corpus.words import WordArray
from lm.analysis.stories.divergence import closeness, histogram
from lm.analysis.stories.style import ends_in_a_loop, names_used_again, reading_ease
from lm.analysis.stories.write import Beside, Stories
from lm.analysis.texts import distinct, repetition, self_bleu, words
from lm.corpus.stories import story_breach
from lm.corpus.stories.grammar import Copy

Measures = dict[str, float | int | None]
_Values = Float64[np.ndarray, " n"] | Bool[np.ndarray, " n"]  # of each text or group; Booleans become a share

_NOVEL = (4, 8, 16)  # words in a row
GROUP = 20  # texts of which distinct-n, Self-BLEU and closeness are measured together
OF_GROUPS = ("distinct_1", "distinct_2", "distinct_3", "self_bleu", "closeness_1", "closeness_2")
_COMMON = 2000  # sequences of words with a bin of their own


def story_measures(beside: Beside, *, built_in: bool) -> Measures:
    """Each measure of what the model wrote, then under `validation_...` the same of validation text.

    Each has its standard error under `..._standard_error`. Measures of single texts are means over texts. Measures of a
    set (`OF_GROUPS`) are means over groups of 20 texts, so they can be compared between sets of any size; groups are
    independent. A measure is None where the texts are too few or too short for it. With `built_in`, the grammar of the
    built-in stories checks each text.
    """
    values = _of_texts(beside.stories, beside.words, beside.copies, beside.sample, built_in)
    other = _of_texts(beside.others, beside.other_words, beside.other_copies, beside.sample, built_in)
    return {
        "n_stories": len(beside.stories.texts),
        **values,
        "validation_n_documents": len(beside.others.texts),
        **{f"validation_{name}": value for name, value in other.items()},
    }


def _of_texts(
    stories: Stories,
    numbered: WordArray,
    copies: Int64[np.ndarray, " n"],
    sample: CorpusSample,
    built_in: bool,
) -> Measures:
    texts = stories.texts
    split = [words(text) for text in texts]
    of_each: dict[str, _Values] = {
        "ends_itself": np.array(stories.ended, bool),
        "words": numbered.lengths.astype(np.float64),
        "repetition_4": _floats([repetition(text, 4) for text in split]),
        "ends_in_a_loop": np.array([ends_in_a_loop(text) for text in split], bool),
        "longest_copy": longest_copy(copies, numbered).astype(np.float64),
        **{f"novel_{n}": novel_share(copies, numbered, n) for n in _NOVEL},
        "names_used_again": _floats([names_used_again(text) for text in texts]),
        "reading_ease": _floats([reading_ease(text) for text in texts]),
    }
    if built_in:
        of_each |= grammar_measures(stories)
    reference = sample.vocabulary.number(sample.reference_texts)
    of_groups: dict[str, Callable[[int, int], float | None]] = {
        **{f"distinct_{n}": _distinct(split, n) for n in (1, 2, 3)},
        "self_bleu": lambda first, last: self_bleu(split[first:last]),
        **{f"closeness_{n}": _closeness(numbered, reference, n) for n in (1, 2)},
    }
    groups = [(first, first + GROUP) for first in range(0, len(texts) - GROUP + 1, GROUP)]
    measured = {name: _floats([measure(*group) for group in groups]) for name, measure in of_groups.items()}
    return _with_errors(of_each | measured)


def grammar_measures(stories: Stories) -> dict[str, _Values]:
    """What the grammar of the built-in stories says of each text.

    `in_grammar`: 1 for a story of the grammar, or, where the text was cut off, for the beginning of one.
    `grammar_follows`: the share of the characters before the first place that no story has.
    `keeps_names_and_things`: of a text that leaves the grammar, 0 if it does so where a word that was introduced before
    must stand again, such as a name, a pronoun, a color or a toy; otherwise 1, for a story of the grammar too.
    """
    texts = stories.texts
    found = [story_breach(text, ended=ended) for text, ended in zip(texts, stories.ended, strict=True)]
    follows = [1.0 if one is None else one.at / max(1, len(text)) for one, text in zip(found, texts, strict=True)]
    keeps = [one is None or not any(isinstance(node, Copy) for node in one.expected) for one in found]
    return {
        "in_grammar": np.array([one is None for one in found], bool),
        "grammar_follows": _floats(follows),
        "keeps_names_and_things": np.array(keeps, bool),
    }


def _distinct(split: Sequence[Sequence[str]], n: int) -> Callable[[int, int], float | None]:
    return lambda first, last: distinct(split[first:last], n)


def _closeness(texts: WordArray, reference: WordArray, n: int) -> Callable[[int, int], float | None]:
    """The `closeness` of some texts to the reference, by sequences of n words: the commonest of the reference, and one
    bin for all others."""
    values, counts = np.unique(hashes(reference, n)[1], return_counts=True)
    common = np.sort(values[np.lexsort((values, -counts))[:_COMMON]])
    other = histogram(hashes(reference, n)[1], common) if len(common) else None

    def measure(first: int, last: int) -> float | None:
        own = hashes(texts.part(first, last), n)[1]
        return None if other is None or not len(own) else closeness(histogram(own, common), other)

    return measure


def _floats(values: Sequence[float | None]) -> Float64[np.ndarray, " n"]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _with_errors(values: Mapping[str, _Values]) -> Measures:
    """The mean of the values that are numbers, and its standard error: None where there are too few."""
    found: Measures = {}
    for name, array in values.items():
        known = array[~np.isnan(array)]
        found[name] = float(known.mean()) if len(known) else None
        found[f"{name}_standard_error"] = _error_of_share(known) if known.dtype == bool else _error_of_mean(known)
    return found


def _error_of_mean(values: Float64[np.ndarray, " n"]) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _error_of_share(values: Bool[np.ndarray, " n"]) -> float | None:
    """The error of a share, with one more of each kind: where 60 of 60 are so, the 61st may still be otherwise.

    Agresti and Caffo 2000, who add them to compare two shares.
    """
    if not len(values):
        return None
    n = len(values) + 2
    share = (float(values.sum()) + 1) / n
    return math.sqrt(share * (1 - share) / n)
