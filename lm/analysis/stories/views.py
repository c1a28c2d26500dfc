"""The views of the topic stories: what the model writes, beside validation text."""

import math

import numpy as np
from scipy.special import stdtrit

from lm.analysis.corpus.copies import longest_copy
from lm.analysis.corpus.sample import CorpusSample
from lm.analysis.corpus.words import WordArray
from lm.analysis.stories.measures import GROUP, OF_GROUPS, Measures
from lm.analysis.stories.write import Beside
from lm.analysis.views import Curve, Curves, Table, Token, Tokens, Topic, View, numbers

_WORDS = {  # what each measure is, for a reader
    "words": "words of a text",
    "ends_itself": "share that ends itself",
    "in_grammar": "share that the grammar can tell",
    "grammar_follows": "share of a text that the grammar follows",
    "keeps_names_and_things": "share that keeps names and things",
    "names_used_again": "share of names used again",
    "repetition_4": "share of 4 words in a row that came before",
    "ends_in_a_loop": "share that ends in a loop",
    "longest_copy": "longest copy, in words",
    "novel_4": "share of 4 words in a row that are new",
    "novel_8": "share of 8 words in a row that are new",
    "novel_16": "share of 16 words in a row that are new",
    "distinct_1": "distinct-1 of 20 texts",
    "distinct_2": "distinct-2 of 20 texts",
    "distinct_3": "distinct-3 of 20 texts",
    "self_bleu": "Self-BLEU of 20 texts",
    "closeness_1": "closeness to validation text, words",
    "closeness_2": "closeness to validation text, pairs of words",
    "reading_ease": "reading ease (Flesch)",
}
_COUNTS = ("n_stories", "validation_n_documents")
_CHANCE = 0.0027  # how often chance may make a difference that is called clear: as 3 standard errors of a known spread


def story_views(beside: Beside, measures: Measures) -> Topic:
    """What the texts are like, what they copy, and the one that copies most. `measures` are those of these texts."""
    views: list[View] = [_table(measures)]
    written, copies, sample = beside.words, beside.copies, beside.sample
    if written.lengths.any():
        views += [_copies(beside), _most_copied(written, copies, sample)]
    notes = () if sample.whole else (f"Copies are looked for in {sample.named} alone: there may be longer ones.",)
    return Topic("stories", "Stories", views, notes)


def _table(measures: Measures) -> Table:
    rows: list[list[str | float | None]] = []
    for name, shown in _WORDS.items():
        if measures.get(name) is None:
            continue
        clear = _clearly_different(measures, name)
        rows.append(
            [
                shown,
                _with_error(measures, name),
                _with_error(measures, f"validation_{name}"),
                None if clear is None else "yes" if clear else "no",
            ]
        )
    return Table(
        "What the model writes, beside validation text",
        f"Means of {measures['n_stories']} texts of the model and {measures['validation_n_documents']} validation "
        "documents, ± standard error. Documents are cut where the model would have had to stop. Only a difference "
        f"between the two says something of the model. It is clear if chance makes one so large in fewer than "
        f"{_CHANCE:.1%} of cases (Welch's t-test).",
        ["measure", "model", "validation", "clearly different"],
        rows,
    )


def _with_error(measures: Measures, name: str) -> str | None:
    value, error = measures.get(name), measures.get(f"{name}_standard_error")
    if value is None:
        return None
    digits = ".3g" if abs(value) < 1000 else ",.0f"
    return f"{value:{digits}}" + ("" if error is None else f" ± {error:{'.1g' if abs(value) < 1000 else ',.0f'}}")


def _clearly_different(measures: Measures, name: str) -> bool | None:
    """Whether model and validation text differ by more than chance makes of one; None if that is not known."""
    value, other = measures.get(name), measures.get(f"validation_{name}")
    error, other_error = (measures.get(f"{one}_standard_error") for one in (name, f"validation_{name}"))
    if value is None or other is None or error is None or other_error is None:
        return None
    squares = error**2, other_error**2
    counts = [int(measures[one] or 0) // (GROUP if name in OF_GROUPS else 1) for one in _COUNTS]
    if not sum(squares):
        return value != other
    # Welch 1947: the degrees of freedom of a difference whose two spreads are only estimates.
    spread = sum(square**2 / max(1, count - 1) for square, count in zip(squares, counts, strict=True))
    limit = -float(stdtrit(sum(squares) ** 2 / spread, _CHANCE / 2))
    return abs(value - other) > limit * math.sqrt(sum(squares))


def _copies(beside: Beside) -> Curves:
    curves = []
    for name, texts, lengths in (
        ("model", beside.words, beside.copies),
        ("validation", beside.other_words, beside.other_copies),
    ):
        longest = np.sort(longest_copy(lengths, texts))
        if len(longest):
            share = 1 - np.arange(len(longest)) / len(longest)
            curves.append(Curve(name, numbers(longest), numbers(share)))
    return Curves(
        "Longest copies from the training text",
        f"The share of texts whose longest copy from {beside.sample.named} has at least so many words in a row. A "
        "model that has learned by heart lies right of validation text, which nobody could copy.",
        "words in a row",
        "share of texts",
        curves,
    )


def _most_copied(written: WordArray, copies: np.ndarray, sample: CorpusSample) -> Tokens:
    """The text with the longest copy: each word coloured by the longest copy that it is a part of."""
    number = int(longest_copy(copies, written).argmax())
    end, size = int(written.ends[number]), int(written.lengths[number])
    own = copies[end - size : end]
    cover = np.zeros(size, np.int64)
    for place, length in enumerate(own):
        cover[place : place + length] = np.maximum(cover[place : place + length], length)
    ids = written.ids[end - size : end].tolist()
    shown = [Token(sample.vocabulary.spell([id]) + " ", length) for id, length in zip(ids, cover.tolist(), strict=True)]
    return Tokens(
        "The text that copies most",
        f"Each word is coloured by the length of the longest copy from {sample.named} that it is a part of.",
        "words of the copy",
        "",
        shown,
    )
