"""Attention weights, attention to another sequence, and positions that are given."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.config.model import ModelConfig
from lm.model.attend import attend, attention_weights
from lm.model.attention import Attention
from tests.model.configs import configs, largest, random_ids, random_model, redraw, small_config
from tests.model.test_attend import LENGTHS, RULES, Rule, mask_of, random_inputs

SWITCHES = [
    {},
    {"n_kv_heads": 2, "bias": True},
    {"positions": "alibi", "window": 3},
    {"qk_norm": True, "n_kv_heads": 1},
]


def attention_of(config: ModelConfig) -> Attention:
    """A layer in float64 whose every weight matters."""
    attention = Attention(config).double().eval()
    redraw(attention, seed=1)
    return attention


def random_states(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n_queries", "n_keys"), LENGTHS)
def test_attention_is_the_sum_of_values_by_the_weights(rule: Rule, n_queries: int, n_keys: int) -> None:
    q, k, v = random_inputs(n_queries, n_keys, torch.float64)
    mask = mask_of(rule, n_queries, n_keys)
    weights = attention_weights(q, k, mask)
    assert (weights >= 0).all()
    # Sums of at most 70 terms of size 1, each rounded to 1e-16.
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-14)
    torch.testing.assert_close(weights @ v, attend(q, k, v, mask, dropout=0.0), rtol=0, atol=1e-14)


@settings(max_examples=60)
@given(configs(), st.integers(0, 2**16))
def test_the_weights_of_a_model_are_those_its_layers_use_and_never_look_ahead(config: ModelConfig, seed: int) -> None:
    model, ids = random_model(config, seed, torch.float64), random_ids(2, config.context_length, seed)
    weights = model.attention_weights(ids)
    assert len(weights) == config.n_layers
    for layer in weights:
        assert layer.shape == (2, config.n_heads, config.context_length, config.context_length)
        assert not layer.triu(1).any()
        torch.testing.assert_close(layer.sum(-1), torch.ones_like(layer[..., 0]), rtol=0, atol=1e-12)
    # Values of ones make of each output a sum of weights: only the last layer's attention is replaced by it.
    x = random_states(2, config.context_length, config.d_model)
    attention = model.blocks[-1].attention
    assert isinstance(attention, Attention)
    n_kv_heads, d_head = config.sizes.n_kv_heads, config.d_head
    with torch.no_grad():
        v = attention.qkv(x)[..., -n_kv_heads * d_head :].unflatten(-1, (n_kv_heads, d_head)).transpose(1, 2)
        v = v.repeat_interleave(config.n_heads // n_kv_heads, dim=1)
        expected = attention.out((attention.weights(x) @ v).transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12 * max(1.0, largest(expected)))


@pytest.mark.parametrize("changes", SWITCHES)
def test_with_a_memory_queries_of_one_sequence_see_all_of_the_other(changes: dict[str, object]) -> None:
    attention = attention_of(small_config(**changes))
    x, memory = random_states(2, 5, 16), random_states(2, 9, 16, seed=1)
    y = attention(x, memory=memory)
    assert y.shape == x.shape
    # No order: the same memory in another order is the same, and each query is answered by itself.
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(x, memory=memory[:, order]), y, rtol=0, atol=1e-12)
    torch.testing.assert_close(attention(x[:, 3:4], memory=memory), y[:, 3:4], rtol=0, atol=1e-12)
    weights = attention.weights(x, memory=memory)
    assert weights.shape == (2, 4, 5, 9)
    assert (weights > 0).all()
    # The first key changes every output, the first query its own alone.
    changed = attention(x, memory=torch.cat([memory[:, :1] + 1, memory[:, 1:]], dim=1))
    assert (changed != y).any(-1).all()


def test_a_sequence_that_attends_to_itself_as_a_memory_sees_what_comes_too() -> None:
    attention = attention_of(small_config(positions="none"))
    x = random_states(2, 6, 16)
    # The last position sees everything either way.
    torch.testing.assert_close(attention(x, memory=x)[:, -1], attention(x)[:, -1], rtol=0, atol=1e-12)
    assert not torch.allclose(attention(x, memory=x)[:, 0], attention(x)[:, 0])


@pytest.mark.parametrize("kernel", ["fused", "math"])
def test_both_kernels_attend_to_a_memory_alike(kernel: str) -> None:
    q, k, v = random_inputs(4, 9, torch.float64)
    expected = attention_weights(q, k, None, causal=False) @ v
    actual = attend(q, k, v, None, 0.0, "math" if kernel == "math" else "fused", causal=False)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-14)


@settings(max_examples=100)
@given(configs(), st.integers(0, 2**16), st.data())
def test_positions_that_count_from_0_change_nothing(config: ModelConfig, seed: int, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, config.context_length))
    model, ids = random_model(config, seed, torch.float64), random_ids(2, seq, seed)
    positions = torch.arange(seq).expand(2, -1)
    expected = model(ids)
    # Where a mask is needed, the fused kernel adds in another order, and float32 roundings of norms may tip.
    torch.testing.assert_close(model(ids, positions=positions), expected, rtol=0, atol=1e-5 * largest(expected))


@pytest.mark.parametrize("positions", ["rope", "learned", "sinusoidal", "alibi", "none"])
@pytest.mark.parametrize("window", [None, 3])
def test_relative_positions_go_by_distance_and_absolute_ones_by_place(positions: str, window: int | None) -> None:
    model = random_model(small_config(positions=positions, window=window), dtype=torch.float64)
    ids, places = random_ids(2, 5), torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]])
    expected = model(ids)
    shifted = model(ids, positions=places + torch.tensor([[4], [7]]))
    same = torch.allclose(shifted, expected, rtol=0, atol=1e-5 * largest(expected))
    assert same == (positions in {"rope", "alibi", "none"})
    spread = model(ids, positions=2 * places)
    assert torch.allclose(spread, expected, rtol=0, atol=1e-5 * largest(expected)) == (
        positions == "none" and window is None
    )
    # Each row has its own, and the first token has nothing to look at but itself.
    assert torch.equal(model(ids, positions=torch.stack([places[0], 2 * places[1]]))[1], spread[1])


def test_a_window_hides_what_is_farther_away_by_position() -> None:
    model = random_model(small_config(positions="none", window=3, n_layers=1), dtype=torch.float64)
    weights = model.attention_weights(random_ids(1, 4), torch.tensor([[0, 1, 5, 6]]))
    assert (weights[0][0, 0] > 0).tolist() == [
        [i == j or (j, i) in {(0, 1), (2, 3)} for j in range(4)] for i in range(4)
    ]


@pytest.mark.parametrize("places", [[0, 12], [-1, 0]])
def test_positions_outside_the_context_are_a_clear_error(places: list[int]) -> None:
    model = random_model(small_config())
    with pytest.raises(ValueError, match=rf"^positions: must be from 0 to 11, got {places[0]} to {places[1]}$"):
        model(random_ids(1, 2), positions=torch.tensor([places]))


@pytest.mark.parametrize("positions", ["rope", "alibi", "none"])
@pytest.mark.parametrize("window", [None, 3])
def test_a_document_does_not_see_what_stands_before_it_in_its_row(positions: str, window: int | None) -> None:
    model = random_model(small_config(positions=positions, window=window), dtype=torch.float64)
    ids, documents = random_ids(2, 9), torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 2], [4, 5, 5, 5, 5, 5, 5, 5, 5]])
    together = model.hidden(ids, documents=documents)
    for row, numbers in enumerate(documents):
        for number in numbers.unique():
            alone = model.hidden(ids[row, numbers == number][None])[0]
            # Rotations are in float32, so those at another place differ by its rounding.
            torch.testing.assert_close(together[row, numbers == number], alone, rtol=0, atol=1e-5 * largest(alone))
    assert not torch.allclose(together[0, 4:], model.hidden(ids)[0, 4:], rtol=0, atol=1e-3)
    for kernel in ("math", "fused"):
        model.compute_with(attention=kernel)
        torch.testing.assert_close(model.hidden(ids, documents=documents), together, rtol=0, atol=1e-5)


def test_recomputed_activations_know_positions_and_documents() -> None:
    model = random_model(small_config()).train()
    ids, positions = random_ids(2, 5), torch.tensor([[0, 2, 4, 6, 8], [3, 4, 5, 6, 7]])
    documents = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 2, 2, 2]])
    gradients = []
    for recompute in (False, True):
        model.compute_with(recompute=recompute)
        model.zero_grad()
        model.hidden(ids, positions, documents).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
