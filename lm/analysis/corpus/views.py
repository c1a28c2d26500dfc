"""The views of the topic text: what the corpus is like."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lm.analysis.corpus.copies import longest_copy, novel_share
from lm.analysis.corpus.counts import (
    PowerLaw,
    commonest,
    commonest_openings,
    frequency_by_rank,
    heaps_law,
    vocabulary_growth,
    zipf_law,
)
from lm.analysis.corpus.near_duplicates import near_duplicates
from lm.analysis.corpus.sample import CorpusSample
from lm.analysis.views import Curve, Curves, Table, Topic, View, numbers
from lm.formats.columns import Columns
from lm.tokenizer.inspection import length_histogram

_SHOWN = 15  # rows of a table
_SHOWN_CHARACTERS = 160  # of a document
_ALIKE = 0.7  # from which share of common sequences on two documents are near-duplicates
_MOST_COMPARED = 8000  # documents that are searched for near-duplicates
_GRAMS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


def text_views(sample: CorpusSample, token_lengths: Int64[np.ndarray, " documents"]) -> Topic:
    """What the corpus is like. `token_lengths` are those of the training documents, each with its end token."""
    notes = () if sample.whole else (f"Words are counted in {sample.named}, from 32 places of the file.",)
    if not len(sample.train_words.lengths) or not sample.train_words.lengths.any():
        return Topic("text", "Text", [], ("The training text has no words.",))
    views: list[View] = [
        _overview(sample),
        _lengths(sample, token_lengths),
        _zipf(sample),
        _heaps(sample),
        _openings(sample),
        _sequences(sample),
        _near_duplicates(sample),
    ]
    if sample.compared.lengths.any():
        views.append(_overlap(sample))
    return Topic("text", "Text", views, notes)


def _overview(sample: CorpusSample) -> Table:
    different = set(sample.train)
    shared = sum(text in different for text in sample.valid)
    lengths = sample.train_words.lengths
    return Table(
        "The corpus",
        "Its size, and documents that stand in it twice. A validation document that the model trained on says nothing "
        "about what the model has learned.",
        ["what", "value"],
        [
            ["training documents looked at", len(sample.train)],
            ["validation documents looked at", len(sample.valid)],
            ["characters of the training documents", sum(map(len, sample.train))],
            ["words of the training documents, marks included", int(lengths.sum())],
            ["different words", int(np.unique(sample.train_words.ids).size) - 1],
            ["words of a document: mean", float(np.round(lengths.mean(), 1))],
            ["words of a document: median", float(np.median(lengths))],
            ["training documents that repeat an earlier one", len(sample.train) - len(different)],
            ["validation documents that stand among the training documents", shared],
        ],
    )


def _lengths(sample: CorpusSample, token_lengths: Int64[np.ndarray, " documents"]) -> Curves:
    words = sample.train_words.lengths
    return Curves(
        "Lengths of documents",
        "How many training documents have about so many words, punctuation marks included, and so many tokens, each in "
        "bins that are equally wide on this axis.",
        "length",
        "documents",
        [_histogram("words", words[words > 0]), _histogram("tokens", token_lengths)],
        log_x=True,
    )


def _histogram(name: str, lengths: Int64[np.ndarray, " documents"]) -> Curve:
    bins: Columns = length_histogram(lengths) if len(lengths) else {"tokens": np.empty(0), "documents": np.empty(0)}
    return Curve(name, numbers(bins["tokens"]), numbers(bins["documents"]))


def _zipf(sample: CorpusSample) -> Curves:
    ranks, counts = frequency_by_rank(sample.train_words)
    law = zipf_law(ranks, counts)
    return Curves(
        "Frequency of words by rank",
        f"The commonest word has rank 1. By Zipf's law the line is straight, with an exponent near -1. {_fitted(law)} "
        "It is fitted by least squares on log axes from rank 10 to 1000, at ranks evenly spaced there.",
        "rank",
        "times in the text",
        [Curve("words", numbers(ranks), numbers(counts)), *_line(law, ranks)],
        log_x=True,
        log_y=True,
    )


def _heaps(sample: CorpusSample) -> Curves:
    read, different = vocabulary_growth(sample.train_words)
    law = heaps_law(read, different)
    return Curves(
        "Growth of the vocabulary",
        f"How many different words have been met after so many words. Natural text follows Heaps' law with an exponent "
        f"of about 0.5 and never stops; a closed vocabulary becomes flat. {_fitted(law)} It is fitted by least squares "
        "on log axes from 1,000 words on.",
        "words read",
        "different words",
        [Curve("words", numbers(read), numbers(different)), *_line(law, read[read >= 1000])],
        log_x=True,
        log_y=True,
    )


def _fitted(law: PowerLaw | None) -> str:
    return "There are too few words for an exponent." if law is None else f"Here it is {law.exponent:.2f}."


def _line(law: PowerLaw | None, x: np.ndarray) -> Sequence[Curve]:
    return [] if law is None else [Curve(f"x^{law.exponent:.2f}", numbers(x), numbers(law(x)))]


def _openings(sample: CorpusSample) -> Table:
    rows = commonest_openings(sample.train, 4, _SHOWN)
    return Table(
        "Commonest openings",
        "The first four words of documents, as they are written, and the share of documents that begin so.",
        ["opening", "documents", "share"],
        [[text, count, float(f"{count / len(sample.train):.3g}")] for text, count in rows],
    )


def _sequences(sample: CorpusSample) -> Table:
    rows = [
        [n, text, count]
        for n in (2, 4)
        for text, count in commonest(sample.train_words, sample.vocabulary, n, _SHOWN)
        if count > 1
    ]
    return Table(
        "Commonest sequences of words",
        "Words in a row that stand most often in the training text, in lower case. Punctuation marks are words.",
        ["words in a row", "text", "times"],
        rows,
    )


def _near_duplicates(sample: CorpusSample) -> Table:
    n_searched = min(_MOST_COMPARED, len(sample.train))
    pairs = near_duplicates(sample.train_words.part(0, n_searched), _ALIKE)
    return Table(
        "Near-duplicates",
        f"Documents that nearly repeat an earlier one: their sequences of five words are alike to {_ALIKE:.0%} or more "
        f"(Jaccard). There are {len(pairs):,} among {n_searched:,} training documents. MinHash finds them; it may miss "
        "some near the limit.",
        ["alike", "the earlier one", "the later one"],
        [[float(f"{pair.alike:.3g}"), *(_start(sample.train[i]) for i in pair[:2])] for pair in pairs[:_SHOWN]],
    )


def _start(text: str) -> str:
    return text[:_SHOWN_CHARACTERS] + (" …" if len(text) > _SHOWN_CHARACTERS else "")


def _overlap(sample: CorpusSample) -> Curves:
    compared, copies = sample.compared, sample.compared_copies
    known = [1 - _mean(novel_share(copies, compared, n)) for n in _GRAMS]
    longest = longest_copy(copies, compared)
    return Curves(
        "What validation text shares with the training text",
        f"The share of sequences of so many words in {len(longest)} validation documents that stand in {sample.named} "
        f"too. The longest such sequence of a document has {np.median(longest):.0f} words in the median, and "
        f"{longest.max()} at most.",
        "words in a row",
        "share",
        [Curve("validation", _GRAMS, numbers(np.array(known)))],
        log_x=True,
    )


def _mean(values: np.ndarray) -> float:
    """The mean of those that are numbers; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
