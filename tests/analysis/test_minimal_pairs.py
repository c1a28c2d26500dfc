"""Minimal pairs: which sentence a model finds likelier."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from lm.analysis.minimal_pairs import accuracy_by_group, summarise_pairs
from lm.corpus.minimal_pairs import MinimalPair
from tests.small import random_model
from tests.tokenizer.test_tokenizer import tokenizer

PAIRS = [
    MinimalPair("The fox lived there.", "The fox live there.", "agreement"),
    MinimalPair("She had three eggs.", "She had three egg.", "number"),
    MinimalPair("The hen was not afraid, nor were the others, who were many.", "The hen were.", "agreement"),
    MinimalPair("a", "b", "letters"),
]


def test_a_pair_is_right_if_the_good_sentence_is_likelier() -> None:
    bpe = tokenizer("bpe")
    model = random_model(bpe.vocab_size, context_length=64)

    def log_probability(text: str) -> float:
        ids = [bpe.end_id, *bpe.encode(f" {text}")]
        with torch.no_grad():
            predicted = model(torch.tensor([ids]))[0].double().log_softmax(-1)
        return sum(float(predicted[place, id]) for place, (_, id) in enumerate(pairwise(ids)))

    right = [log_probability(pair.good) >= log_probability(pair.bad) for pair in PAIRS]
    assert True in right
    assert False in right
    table = accuracy_by_group(model, bpe, PAIRS, batch_size=2)
    assert list(table["group"]) == ["agreement", "number", "letters"]
    assert table["n_pairs"].tolist() == [2, 1, 1]
    assert table["accuracy"].tolist() == [(right[0] + right[2]) / 2, right[1], right[3]]
    both = np.array([right[0], right[2]], dtype=float)
    assert table["standard_error"][0] == pytest.approx(both.std(ddof=1) / math.sqrt(2))
    assert math.isnan(table["standard_error"][1])

    accuracy = sum(right) / 4
    assert summarise_pairs(table) == {
        "minimal_pairs_accuracy": accuracy,
        "minimal_pairs_accuracy_standard_error": pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 3)),
        "n_minimal_pairs": 4,
    }


def test_one_pair_has_no_standard_error() -> None:
    bpe = tokenizer("bpe")
    table = accuracy_by_group(random_model(bpe.vocab_size), bpe, PAIRS[:1], batch_size=2)
    assert summarise_pairs(table)["minimal_pairs_accuracy_standard_error"] is None
