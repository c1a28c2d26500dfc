"""Positions against the formulas of their papers, written out with Python's own numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.model.attention import Attention
from lm.model.positions import alibi_bias, alibi_slopes, rotary_table, rotate, sinusoidal_table
from tests.model.configs import redraw, small_config
from tests.small import numpy_twin, random_model

# The tables are computed in float64 and rounded once to float32: half a unit in the last place of numbers up to 1.
ROUNDED_ONCE = 6e-8


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 32), st.sampled_from([10.0, 1e4, 5e5]))
def test_the_rotary_table_holds_cos_and_sin_of_position_times_frequency(
    context_length: int, half: int, theta: float
) -> None:
    cos, sin = rotary_table(context_length, 2 * half, theta).tolist()
    position, i = context_length - 1, half - 1
    angle = position * theta ** (-2 * i / (2 * half))
    assert cos[position][i] == pytest.approx(math.cos(angle), abs=ROUNDED_ONCE)
    assert sin[position][i] == pytest.approx(math.sin(angle), abs=ROUNDED_ONCE)


def test_rotate_turns_the_pair_of_first_and_second_half() -> None:
    x = torch.arange(1.0, 5.0).view(1, 1, 1, 4)
    quarter_and_half_turn = torch.tensor([[[0.0, -1.0]], [[1.0, 0.0]]])
    assert rotate(x, quarter_and_half_turn).flatten().tolist() == [-3.0, -2.0, 1.0, -4.0]


@settings(max_examples=50)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 100), st.integers(0, 2**32 - 1))
def test_rotated_products_depend_on_the_distance_alone(a: int, b: int, shift: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(1, 1, 1, 8, generator=generator) for _ in range(2))
    table = rotary_table(200, 8, 10000.0)

    def product(query_position: int, key_position: int) -> float:
        turned = rotate(q, table[:, query_position, None]), rotate(k, table[:, key_position, None])
        return float((turned[0] * turned[1]).sum())

    # Some ten roundings of 6e-8 of numbers up to about 10.
    assert product(a + shift, b + shift) == pytest.approx(product(a, b), abs=1e-5)


def test_positions_may_be_given_for_all_rows_or_for_each() -> None:
    x = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    table, positions = rotary_table(50, 8, 10000.0), torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    rows = [rotate(row[None], table[:, places]) for row, places in zip(x, positions, strict=True)]
    assert torch.equal(rotate(x, table[:, positions]), torch.cat(rows))


def test_a_rotation_keeps_lengths_and_leaves_position_0_alone() -> None:
    x = torch.randn(2, 3, 50, 8, generator=torch.Generator().manual_seed(0))
    y = rotate(x, rotary_table(50, 8, 10000.0))
    assert torch.equal(y[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))  # the defaults for float32: 1.3e-6 relative


def test_the_sinusoidal_table_is_that_of_the_paper() -> None:
    table = sinusoidal_table(100, 6).tolist()
    for position in range(100):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position][2 * i] == pytest.approx(math.sin(angle), abs=ROUNDED_ONCE)
            assert table[position][2 * i + 1] == pytest.approx(math.cos(angle), abs=ROUNDED_ONCE)


@pytest.mark.parametrize(("base_width", "scale"), [(None, 4.0), (9, 3.0)])  # the square roots of d_model=16 and of 9
def test_embeddings_are_scaled_by_the_root_of_the_width_before_sines_are_added(
    base_width: int | None, scale: float
) -> None:
    model = random_model(23, positions="sinusoidal", base_width=base_width)
    ids = torch.tensor([[5, 2, 7]])
    expected = (model.embedding.weight[ids] * scale + sinusoidal_table(8, 16)[:3]).detach()
    # The same two roundings in float32, on either side.
    torch.testing.assert_close(model.embed(ids).detach(), expected, rtol=0, atol=0)
    np.testing.assert_array_equal(numpy_twin(model).embed(ids.numpy()), expected)


@pytest.mark.parametrize("positions", ["learned", "rope", "alibi", "none"])
def test_without_sines_embeddings_keep_their_size(positions: str) -> None:
    model = random_model(23, positions=positions)
    ids = torch.tensor([[5, 2, 7]])
    added = model.position_embedding.weight[:3] if positions == "learned" else 0
    torch.testing.assert_close(model.embed(ids), model.embedding.weight[ids] + added, rtol=0, atol=0)


@pytest.mark.parametrize("positions", ["rope", "sinusoidal", "alibi"])
def test_a_model_in_half_precision_keeps_its_positions_in_float32(positions: str) -> None:
    model = random_model(23, positions=positions, n_heads=4)
    before = dict(model.named_buffers())
    assert before
    for convert in (model.bfloat16, model.double, model.half, model.float):
        convert()
        for name, table in model.named_buffers():
            assert table.dtype == torch.promote_types(model.embedding.weight.dtype, torch.float32), name
            assert torch.equal(table.float(), before[name]), name
        assert model(torch.tensor([[5, 2, 7]])).dtype == model.embedding.weight.dtype
    assert {table.device.type for table in model.to("meta").buffers()} == {"meta"}


def test_the_slopes_of_eight_and_sixteen_heads_are_those_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    # The start and the ratio are 2^(-8 / n); float32 rounds to 6e-8.
    assert alibi_slopes(16).tolist() == pytest.approx([2 ** (-n / 2) for n in range(1, 17)], rel=2e-7)


def test_the_alibi_bias_is_minus_slope_times_distance() -> None:
    distance = torch.arange(3)[:, None] - torch.arange(3)
    bias = alibi_bias(torch.tensor([0.5, 0.25]), distance)
    assert bias[0].tolist() == [[0.0, 0.5, 1.0], [-0.5, 0.0, 0.5], [-1.0, -0.5, 0.0]]
    assert torch.equal(bias[1], bias[0] / 2)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("n_heads", [1, 3, 4])
def test_attention_with_alibi_equals_sums_written_out(n_heads: int, window: int | None) -> None:
    d_head, seq = 4, 9
    config = small_config(positions="alibi", n_heads=n_heads, d_model=n_heads * d_head, window=window)
    attention = Attention(config).double().requires_grad_(False)
    redraw(attention, seed=1)
    x = torch.randn(1, seq, config.d_model, generator=torch.Generator().manual_seed(2)).double()
    q, k, v = attention.qkv(x)[0].view(seq, 3, n_heads, d_head).unbind(1)  # each (seq, heads, d_head)

    rows = []
    for i in range(seq):
        heads = []
        for h in range(n_heads):
            slope = 2 ** (-8 * (h + 1) / n_heads)
            seen = range(0 if window is None else max(0, i - window + 1), i + 1)
            scores = [float(q[i, h] @ k[j, h]) / math.sqrt(d_head) - slope * (i - j) for j in seen]
            total = sum(math.exp(score) for score in scores)
            heads.append(sum(math.exp(s) / total * v[j, h] for s, j in zip(scores, seen, strict=True)))
        rows.append(torch.cat([torch.as_tensor(head) for head in heads]))
    expected = attention.out(torch.stack(rows))
    # The bias, a slope times a distance up to 8, is float32: off by at most 8 * 6e-8.
    torch.testing.assert_close(attention(x)[0], expected, rtol=0, atol=2e-6)
