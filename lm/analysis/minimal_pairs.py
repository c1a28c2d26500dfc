"""How often a model finds the better sentence of a minimal pair the likelier one (Warstadt et al. 2020)."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lm.analysis.evaluation import Predictor, evaluate
from lm.corpus.minimal_pairs import MinimalPair
from lm.formats.columns import Columns
from lm.tokenizer.tokenizer import Tokenizer


def accuracy_by_group(model: Predictor, tokenizer: Tokenizer, pairs: Sequence[MinimalPair], batch_size: int) -> Columns:
    """The share of pairs that the model gets right, for each group, in the order of their first pairs.

    A sentence has the probability of all its tokens at the start of a document, with a space before it and without an
    end token. A pair is right if the good sentence is at least as probable as the bad one. All this is as in lm-eval,
    so that its published accuracies can be compared. The standard error is that of a mean over independent pairs, and
    NaN for a single one.

    Columns: group, accuracy, standard_error, n_pairs.
    """
    texts = [f" {pair.good}" for pair in pairs] + [f" {pair.bad}" for pair in pairs]
    sentences = [np.array(ids, dtype=tokenizer.dtype) for ids in tokenizer.encode_batch(texts)]
    loss = evaluate(model, sentences, tokenizer.end_id, batch_size).loss
    right: dict[str, list[bool]] = defaultdict(list)
    for pair, good, bad in zip(pairs, loss[: len(pairs)], loss[len(pairs) :], strict=True):
        right[pair.group].append(good <= bad)
    n_pairs = np.array([len(group) for group in right.values()])
    accuracy = np.array([np.mean(group) for group in right.values()])
    with np.errstate(invalid="ignore"):  # 0 / 0 for a single pair
        error = np.sqrt(accuracy * (1 - accuracy) / (n_pairs - 1))
    return {"group": np.array([*right]), "accuracy": accuracy, "standard_error": error, "n_pairs": n_pairs}


def summarise_pairs(by_group: Columns) -> dict[str, float | None]:
    """The accuracy over all pairs, with its standard error; None if there is a single pair."""
    n = int(by_group["n_pairs"].sum())
    accuracy = float((by_group["accuracy"] * by_group["n_pairs"]).sum() / n)
    return {
        "minimal_pairs_accuracy": accuracy,
        "minimal_pairs_accuracy_standard_error": math.sqrt(accuracy * (1 - accuracy) / (n - 1)) if n > 1 else None,
        "n_minimal_pairs": n,
    }
