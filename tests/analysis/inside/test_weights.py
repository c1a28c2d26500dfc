"""Spectra and neighbours of matrices made by hand."""

import numpy as np
import pytest

from lm.analysis.inside.weights import condition, effective_rank, matrices, neighbours, root_mean_square, spectrum
from lm.formats.parameters import parameter_table
from lm.reference.initial import initial_weights
from tests.model.configs import VOCAB_SIZE, small_config


def test_the_effective_rank_counts_the_directions() -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    singular = spectrum(rotation @ np.diag([2.0, 2, 2, 0, 0, 0]))
    np.testing.assert_allclose(singular, [2, 2, 2, 0, 0, 0], atol=1e-12)
    assert effective_rank(singular) == pytest.approx(3, rel=1e-9)
    assert condition(spectrum(rotation)) == pytest.approx(1)
    assert condition(np.array([3.0, 0])) == float("inf")
    assert effective_rank(np.zeros(3)) == 0
    # Shares 1/2, 1/4, 1/4 have the entropy 1.5 log 2.
    assert effective_rank(np.array([2.0, 1, 1])) == pytest.approx(2**1.5)
    assert root_mean_square(np.array([3.0, -3])) == 3


def test_matrices_that_are_stored_as_one_come_one_by_one() -> None:
    config = small_config(n_kv_heads=2, n_layers=2)
    weights = initial_weights(config, VOCAB_SIZE, seed=0)
    found = [*matrices(parameter_table(config, VOCAB_SIZE), weights)]
    assert [(m.layer, m.name) for m in found] == [
        (layer, name) for layer in (0, 1) for name in ("query", "key", "value", "out", "up", "gate", "down")
    ]
    qkv = weights["blocks.1.attention.qkv.weight"]
    np.testing.assert_array_equal(np.concatenate([m.values for m in found[7:10]]), qkv)
    assert [m.values.shape for m in found[7:10]] == [(16, 16), (8, 16), (8, 16)]


def test_neighbours_point_the_same_way_whatever_their_length() -> None:
    embedding = np.array([[1.0, 0], [5, 1], [0, 2], [-3, 0], [0, 0]])
    near, cosines = neighbours(embedding, np.array([0, 2]), 2)
    assert near.tolist() == [[1, 2], [1, 0]]
    np.testing.assert_allclose(cosines, [[5 / 26**0.5, 0], [1 / 26**0.5, 0]])
    assert neighbours(embedding[:2], np.array([0]), 5)[0].tolist() == [[1]]  # no more than there are
