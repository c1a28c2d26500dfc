"""Tests of lm/model/reader.py and matrices.py. Sessions against whole texts: tests/generation/test_session.py."""

import numpy as np
import pytest
import torch

from lm.analysis.evaluation import evaluate
from lm.config.weights import Weights
from lm.model.cache import KeyValueCache
from lm.model.matrices import fewest_rows, product, quantised
from lm.model.reader import Reader
from tests.model.configs import VOCAB_SIZE, random_model, small_config


@pytest.mark.parametrize(
    ("weights", "most"),
    [
        ("fp32", 1e-6),  # some roundings of 6e-8
        ("bf16", 0.01),  # weights, inputs and outputs are rounded by 2^-9 at most
        ("int8", 0.02),  # the same, and weights by half of 1/127 of the largest of their row
        ("int4", 0.15),  # weights by half of 1/15 of the range of their group
    ],
)
@pytest.mark.parametrize("with_bias", [False, True])
def test_products_are_those_of_the_matrix_within_the_rounding_of_their_weights(
    weights: Weights, most: float, with_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (100, 64), (5, 64), (100,), (5, 100)
    weight, x, bias, residual = (torch.randn(shape, generator=generator) for shape in shapes)
    kind = torch.float32 if weights == "fp32" else torch.bfloat16
    multiply = product(
        weight.to(kind) if weights in ("fp32", "bf16") else weight, bias.to(kind) if with_bias else None, weights
    )
    expected = x @ weight.T + (bias if with_bias else 0)
    error = multiply(x.to(kind)).float() - expected
    assert error.std() / expected.std() < most
    assert multiply(x.to(kind)).dtype == kind
    added = multiply(x.to(kind), plus=residual.to(kind)).float() - expected - residual
    assert added.std() / expected.std() < most


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8", "int4"])
def test_a_row_of_a_product_does_not_depend_on_the_rows_beside_it_to_the_last_bit(weights: Weights) -> None:
    """For one row of oneDNN in float32 it would: of a width as large as this, its sums have another order."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(64, 1344, generator=generator), torch.randn(33, 1344, generator=generator)
    kind = torch.float32 if weights == "fp32" else torch.bfloat16
    weight, x = weight if weights in ("int8", "int4") else weight.to(kind), x.to(kind)
    multiply, fewest = product(weight, None, weights), fewest_rows(torch.zeros(1, 1, dtype=kind), weights)
    together, residual = multiply(x), torch.randn(33, 64, generator=generator).to(kind)
    added = multiply(x, plus=residual)
    for n in (fewest, fewest + 1, 7, 16):
        assert torch.equal(multiply(x[:n]), together[:n])
        assert torch.equal(multiply(x[:n], plus=residual[:n]), added[:n])
    wide = torch.cat([x, x], 1)[:, : x.shape[1]]  # rows that do not lie one after the other
    assert torch.equal(multiply(wide), together)


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8", "int4"])
def test_a_text_alone_is_read_as_beside_others_to_the_last_bit(weights: Weights) -> None:
    config = small_config(d_model=64, d_ff=1344, n_heads=4, n_kv_heads=2, context_length=200)
    reader = Reader(random_model(config), weights)
    ids = np.random.Generator(np.random.Philox(key=3)).integers(0, VOCAB_SIZE, (5, 200))
    sessions = [reader.session(n) for n in (1, 2, 5)]
    for session in sessions:
        lengths = [70, 10, 140, 3, 65][: len(session.lengths)]
        session.refill(range(len(lengths)), [ids[row, :n].tolist() for row, n in enumerate(lengths)])
    for at in range(70, 75):
        alone, *beside = (session.read(ids[: len(session.lengths), at, None])[0] for session in sessions)
        assert all(torch.equal(logits, alone) for logits in beside)


@pytest.mark.parametrize("width", [8, 24, 40])
def test_int8_multiplies_matrices_of_any_width(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, width, generator=generator) for n in (20, 7))
    expected = x @ weight.T
    error = product(weight, None, "int8")(x.bfloat16()).float() - expected
    assert error.std() / expected.std() < 0.02  # as above


def test_int8_is_off_by_half_a_step_at_most_and_a_row_of_zeros_stays_zero() -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * torch.logspace(-9, 3, 6)[:, None]
    weight[2] = 0
    numbers, scale = quantised(weight)
    error = (numbers.float() * scale.float()[:, None] - weight).abs()
    # Where the scale was rounded down, by 2^-9 at most, 127 steps are not quite the largest number.
    assert (error <= scale.float()[:, None] * (0.5 + 127 * 2**-8)).all()
    assert (numbers[2] == 0).all()


def test_what_cannot_run_is_one_line_that_names_the_parameter() -> None:
    model = random_model(small_config(n_heads=4, d_model=48))
    with pytest.raises(ValueError, match=r"^sample\.weights: int4 needs widths that are multiples of 32, and .* 48$"):
        Reader(model, "int4", "sample.weights")
    with pytest.raises(ValueError, match=r"^weights: 'int8' runs on a CPU only, and the device is 'meta'$"):
        Reader(model.to("meta"), "int8")


@pytest.mark.parametrize(("weights", "most"), [("fp32", 1e-5), ("bf16", 0.03), ("int8", 0.03), ("int4", 0.3)])
def test_a_text_is_evaluated_with_the_weights_of_generation(weights: Weights, most: float) -> None:
    model = random_model(small_config(d_model=64, d_ff=32, n_heads=4, window=7))
    generator = np.random.Generator(np.random.Philox(key=2))
    documents = [generator.integers(1, VOCAB_SIZE, n).astype(np.uint16) for n in (3, 40, 12)]
    expected = evaluate(model, documents, 0, 2)
    result = evaluate(Reader(model, weights), documents, 0, 2)
    assert result.n_tokens.tolist() == expected.n_tokens.tolist()
    error = np.abs(result.loss - expected.loss) / expected.n_tokens
    # A random model is sure of most tokens and wrong, so a loss is some 5 nats a token.
    assert error.max() < most
    assert weights == "fp32" or error.max() > 1e-5


def test_on_a_cpu_the_cache_has_the_columns_of_its_longest_text_in_whole_blocks() -> None:
    cache = KeyValueCache(small_config(context_length=300), 2, torch.device("cpu"), torch.float32)
    cache.make_room(130)
    assert cache.store.shape[4] == 192
    cache.store[:, :, 0, :, :100] = 7
    cache.lengths = np.array([100, 130])
    cache.select([0])  # the longest text leaves
    assert cache.store.shape[4] == 128
    assert cache.store.is_contiguous()
    assert (cache.store[:, :, 0, :, :100] == 7).all()
    cache.make_room(129)
    assert cache.store.shape[4] == 192
    assert (cache.store[:, :, 0, :, :100] == 7).all()
