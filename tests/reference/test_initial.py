"""The weights a model starts from are those that PyTorch draws."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.model import ModelConfig
from lm.model.transformer import Transformer
from lm.reference.initial import NormalGenerator, initial_weights
from tests.model.configs import VOCAB_SIZE, configs, small_config


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 100) | st.sampled_from([16, 4096]), min_size=1, max_size=6))
def test_the_stream_of_normal_numbers_is_that_of_pytorch(seed: int, counts: list[int]) -> None:
    ours, theirs = NormalGenerator(seed), torch.Generator().manual_seed(seed)
    for count in counts:
        expected = torch.empty(count).normal_(generator=theirs).numpy()
        # Logarithms and cosines of numbers up to 6, rounded differently by a unit in the last place.
        np.testing.assert_allclose(ours.draw(count), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(configs(), st.integers(0, 2**32 - 1))
def test_a_seed_gives_both_backends_the_same_start(config: ModelConfig, seed: int) -> None:
    expected = Transformer(config, VOCAB_SIZE, seed).state_dict()
    weights = initial_weights(config, VOCAB_SIZE, seed)
    assert list(weights) == list(expected)
    for name, weight in weights.items():
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, expected[name].numpy(), rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_seed_gives_these_weights_without_pytorch() -> None:
    # The golden numbers of the model in PyTorch (tests/model/test_init.py).
    weights = initial_weights(small_config(), VOCAB_SIZE, seed=1337)
    first, last = weights["embedding.weight"][0, :3], weights["blocks.1.feed_forward.down.weight"][-1, -3:]
    assert first.tolist() == pytest.approx([0.003615431720, -0.001399761881, -0.007192469668], abs=1e-8)
    assert last.tolist() == pytest.approx([0.007103451527, 0.010611765087, 0.009388645180], abs=1e-8)


@pytest.mark.parametrize("base_width", [None, 4])
def test_matrices_that_start_at_zero_take_their_numbers_from_the_stream(base_width: int | None) -> None:
    changes: dict[str, Any] = {"base_width": base_width, "tie_embeddings": False, "d_model": 8, "d_ff": 5}
    usual, zeros = (initial_weights(small_config(zero_init=z, **changes), VOCAB_SIZE, seed=3) for z in (False, True))
    for name, weight in zeros.items():
        if name.endswith((".out.weight", ".down.weight")):
            assert not weight.any()
        else:
            assert np.array_equal(weight, usual[name]), name
