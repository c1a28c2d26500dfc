"""Each layer of lm/reference alone against PyTorch's function of the same name, in float64: outputs and gradients."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.reference.activations import GELU, SiLU, SquaredReLU, TanhGELU, normal_distribution, sigmoid
from lm.reference.attend import Attend
from lm.reference.dropout import Dropout
from lm.reference.feed_forward import FeedForward
from lm.reference.linear import Embedding, Linear
from lm.reference.loss import CrossEntropy, accuracy, perplexity
from lm.reference.norm import LayerNorm, NoNorm, RMSNorm, build_norm
from lm.reference.parameter import Parameter
from lm.reference.positions import rotary_table, rotate, rotate_back
from tests.reference.oracle import (
    assert_close,
    assert_same_as_torch,
    assert_slope,
    parameters_of,
    random_array,
    tensors_of,
)
from tests.small import model_config

sizes = st.integers(1, 7)
shapes = st.lists(sizes, min_size=1, max_size=3)
seeds = st.integers(0, 2**32)


@settings(max_examples=30)
@given(shapes, sizes, st.booleans(), seeds)
def test_linear(shape: list[int], n_outputs: int, bias: bool, seed: int) -> None:
    weights = {"f.weight": random_array(n_outputs, shape[-1], seed=seed)}
    if bias:
        weights["f.bias"] = random_array(n_outputs, seed=seed + 1)
    parameters = parameters_of(weights)
    x = random_array(*shape, seed=seed + 2)
    assert_same_as_torch(
        Linear(parameters, "f"), [x], parameters, lambda x, f_weight, f_bias=None: F.linear(x, f_weight, f_bias)
    )


@settings(max_examples=30)
@given(shapes, sizes, sizes, seeds)
def test_embedding(shape: list[int], vocab_size: int, width: int, seed: int) -> None:
    ids = np.random.Generator(np.random.Philox(key=seed)).integers(0, vocab_size, shape)
    weight = random_array(vocab_size, width, seed=seed)
    (expected_weight,) = tensors_of([weight])
    expected = F.embedding(torch.from_numpy(ids), expected_weight)
    layer = Embedding(Parameter(weight.copy()))
    actual = layer.forward(ids)
    assert_close(actual, expected)
    dy = random_array(*actual.shape, seed=seed + 1)
    expected.backward(torch.from_numpy(dy))  # type: ignore[no-untyped-call]
    layer.backward(dy)
    assert layer.weight.grad is not None
    assert_close(layer.weight.grad, expected_weight.grad)


@settings(max_examples=30)
@given(shapes, st.booleans(), seeds)
def test_layernorm(shape: list[int], bias: bool, seed: int) -> None:
    shape = [*shape, 5]
    weights = {"f.weight": random_array(5, seed=seed)} | ({"f.bias": random_array(5, seed=seed + 1)} if bias else {})
    parameters = parameters_of(weights)
    assert_same_as_torch(
        LayerNorm(parameters, "f", 1e-5),
        [random_array(*shape, seed=seed + 2) + 3],
        parameters,
        lambda x, f_weight, f_bias=None: F.layer_norm(x, (5,), f_weight, f_bias, eps=1e-5),
    )


@settings(max_examples=30)
@given(shapes, seeds)
def test_rmsnorm(shape: list[int], seed: int) -> None:
    parameters = parameters_of({"f.weight": random_array(shape[-1], seed=seed)})
    x = random_array(*shape, seed=seed + 1)
    assert_same_as_torch(
        RMSNorm(parameters, "f", 1e-3),
        [x],
        parameters,
        lambda x, f_weight: F.rms_norm(x, f_weight.shape, f_weight, 1e-3),
    )


def test_no_norm_passes_everything_through() -> None:
    x = random_array(2, 3)
    layer = build_norm(model_config(norm="none"), {}, "f")
    assert isinstance(layer, NoNorm)
    assert layer.forward(x) is x
    assert layer.backward(x) is x


ACTIVATIONS: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "silu": (SiLU, F.silu),
    "gelu": (GELU, F.gelu),
    "gelu_tanh": (TanhGELU, lambda x: F.gelu(x, approximate="tanh")),
    "relu2": (SquaredReLU, lambda x: F.relu(x).square()),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("size", [0.01, 1.0, 5.0, 30.0, 1000.0])
def test_activations(kind: str, size: float) -> None:
    layer, function = ACTIVATIONS[kind]
    assert_same_as_torch(layer(), [size * random_array(200, 3)], {}, function)


def test_the_normal_distribution_is_right_to_the_last_digits() -> None:
    x = np.linspace(-12, 12, 20_001)
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    # A unit in the last place of numbers up to 1, in sums of a handful of terms.
    np.testing.assert_allclose(normal_distribution(x), expected, rtol=0, atol=4e-16)
    single = normal_distribution(x.astype(np.float32))
    assert single.dtype == np.float32
    expected_of_single = np.array([0.5 * math.erfc(-float(value) / math.sqrt(2)) for value in x.astype(np.float32)])
    np.testing.assert_allclose(single, expected_of_single, rtol=0, atol=1.5e-7)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_a_number_that_is_none_stays_none(kind: str) -> None:
    x = np.array([np.nan, 1.0])  # of a run that diverges, which the trainer must see in the loss
    assert np.isnan(ACTIVATIONS[kind][0]().forward(x)).tolist() == [True, False]
    assert normal_distribution(np.array([-np.inf, np.inf])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sigmoid_overflows_nowhere(dtype: Any) -> None:
    x = np.array([-1e30, -1000, -100, 0, 100, 1e30], dtype=dtype)  # a RuntimeWarning would fail the test
    np.testing.assert_allclose(sigmoid(x), [0, 0, 0, 0.5, 1, 1], rtol=0, atol=1e-30)


def feed_forward(kind: str) -> Callable[..., Tensor]:
    def function(x: Tensor, **w: Tensor) -> Tensor:
        up = F.linear(x, w["f_up_weight"], w.get("f_up_bias"))
        if kind == "swiglu":
            hidden = F.silu(F.linear(x, w["f_gate_weight"], w.get("f_gate_bias"))) * up
        else:
            hidden = ACTIVATIONS[kind][1](up)
        return F.linear(hidden, w["f_down_weight"], w.get("f_down_bias"))

    return function


@pytest.mark.parametrize("kind", ["swiglu", *ACTIVATIONS])
@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward(kind: str, bias: bool) -> None:
    config = model_config(feed_forward=kind, d_model=8, d_ff=9, bias=bias)
    names = {"f.up": (9, 8), "f.gate": (9, 8), "f.down": (8, 9)}
    if kind != "swiglu":
        del names["f.gate"]
    weights = {f"{name}.weight": random_array(*shape, seed=len(name)) for name, shape in names.items()}
    if bias:
        weights |= {f"{name}.bias": random_array(shape[0], seed=9) for name, shape in names.items()}
    parameters = parameters_of(weights)
    assert_same_as_torch(FeedForward(config, parameters, "f"), [random_array(2, 5, 8)], parameters, feed_forward(kind))


@settings(max_examples=40)
@given(sizes, st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(0, 5), sizes, seeds)
def test_attend(batch: int, kv_heads: int, group: int, n_queries: int, n_before: int, d_head: int, seed: int) -> None:
    n_keys = n_queries + n_before
    q = random_array(batch, kv_heads, group, n_queries, d_head, seed=seed)
    k, v = (random_array(batch, kv_heads, 1, n_keys, d_head, seed=seed + i) for i in (1, 2))
    bias = np.where(np.tri(n_queries, n_keys, n_before), random_array(n_queries, n_keys, seed=seed + 3), -np.inf)

    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (x.expand(-1, -1, group, -1, -1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.from_numpy(bias))

    assert_same_as_torch(Attend(0.0), [q, k, v], {}, function, bias[None, None, None], None)


def test_attention_is_stable_for_scores_of_any_size() -> None:
    q, k, v = 1e3 * random_array(1, 1, 1, 4, 8), 1e3 * random_array(1, 1, 1, 4, 8, seed=1), random_array(1, 1, 1, 4, 8)
    layer = Attend(0.0)
    y = layer.forward(q, k, v, None, None)
    queries, keys, values = (torch.from_numpy(x) for x in (q, k, v))
    assert_close(y, F.scaled_dot_product_attention(queries, keys, values))
    assert all(np.isfinite(gradient).all() for gradient in layer.backward(np.ones_like(y)))


@settings(max_examples=30)
@given(sizes, sizes, sizes, st.integers(1, 4), seeds)
def test_a_rotation_is_undone_by_its_gradient(batch: int, seq: int, heads: int, half: int, seed: int) -> None:
    x = random_array(batch, seq, heads, 2 * half, seed=seed)
    table = rotary_table(seq, 2 * half, 100.0).astype(np.float64)
    y = rotate(x, table)
    turned = (x[..., :half] + 1j * x[..., half:]) * (table[0] + 1j * table[1])[:, None]  # pairs as complex numbers
    assert_close(y, np.concatenate([turned.real, turned.imag], axis=-1))
    dy = random_array(*x.shape, seed=seed + 1)
    assert float((rotate_back(dy, table) * x).sum()) == pytest.approx(float((dy * y).sum()), rel=1e-9, abs=1e-9)
    # The table is in float32, so cos^2 + sin^2 is 1 to some 1e-7.
    np.testing.assert_allclose(rotate_back(y, table), x, rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(shapes, st.integers(2, 9), seeds)
def test_cross_entropy(shape: list[int], vocab_size: int, seed: int) -> None:
    targets = np.random.Generator(np.random.Philox(key=seed)).integers(0, vocab_size, shape)

    def function(z: Tensor) -> Tensor:
        losses = F.cross_entropy(z.reshape(-1, vocab_size), torch.from_numpy(targets).reshape(-1), reduction="none")
        return losses.reshape(shape)

    # Of size 1: where a prediction is all but sure, softmax - onehot is a difference of equals.
    logits = random_array(*shape, vocab_size, seed=seed)
    assert_same_as_torch(CrossEntropy(), [logits], {}, function, targets)
    predicted = torch.from_numpy(logits).argmax(-1).numpy()
    assert accuracy(logits, targets) == pytest.approx((predicted == targets).mean())


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_cross_entropy_is_stable_for_logits_of_any_size(size: float) -> None:
    logits, targets = np.array([[0.0, size], [size, 0.0], [-size, size]], np.float32), np.array([1, 1, 0])
    layer = CrossEntropy()
    losses = layer.forward(logits, targets)
    np.testing.assert_allclose(losses, [0, size, 2 * size], rtol=1e-6)
    np.testing.assert_allclose(layer.backward(np.ones(3, np.float32)), [[0, 0], [1, -1], [-1, 1]], rtol=0, atol=0)


def test_a_uniform_guess_among_n_has_the_perplexity_n() -> None:
    losses = CrossEntropy().forward(np.zeros((3, 7)), np.array([0, 3, 6]))
    assert perplexity(float(losses.mean())) == pytest.approx(7)


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    assert [perplexity(loss) for loss in (709.0, 710.0, 1e9)] == pytest.approx([math.exp(709), math.inf, math.inf])


def test_dropout_drops_so_many_and_keeps_the_mean() -> None:
    layer = Dropout(0.3)
    x = np.ones((200, 500))
    y = layer.forward(x, np.random.Generator(np.random.Philox(0)))
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    # The share of 100,000 draws has the standard deviation sqrt(0.3 * 0.7 / 1e5) = 0.0014.
    assert float((y == 0).mean()) == pytest.approx(0.3, abs=0.007)
    assert np.array_equal(layer.backward(x), y)  # the same numbers pass back
    assert layer.forward(x, None) is x
    assert layer.backward(x) is x  # nothing is remembered of the draw before
    assert Dropout(0.0).forward(x, np.random.Generator(np.random.Philox(0))) is x


def test_dropout_of_attention_weights_has_the_gradient_of_finite_differences() -> None:
    q = random_array(2, 2, 2, 5, 4)
    k, v = (random_array(2, 2, 1, 5, 4, seed=i) for i in (1, 2))
    dy = random_array(*q.shape, seed=3)
    layer = Attend(0.4)

    def loss() -> float:
        generator = np.random.Generator(np.random.Philox(5))  # the same weights drop each time
        return float((layer.forward(q, k, v, None, generator) * dy).sum())

    without = float((Attend(0.0).forward(q, k, v, None, None) * dy).sum())
    assert abs(loss() - without) > 0.1
    assert_slope(loss, [q, k, v], layer.backward(dy))
