"""Properties of the whole model that hold for every configuration."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.config.model import ModelConfig
from lm.model.reader import Reader
from lm.model.transformer import Block, Transformer
from tests.model.configs import VOCAB_SIZE, configs, largest, random_ids, random_model, small_config

every_config = settings(max_examples=100)
seeds = st.integers(0, 2**32 - 1)

POSITIONS = ["rope", "learned", "sinusoidal", "alibi", "none"]


@every_config
@given(configs(), st.integers(1, 3), st.data())
def test_logits_are_finite_float32_numbers_one_for_each_token_of_the_vocabulary(
    config: ModelConfig, batch: int, data: st.DataObject
) -> None:
    seq = data.draw(st.integers(1, config.context_length))
    logits = random_model(config)(random_ids(batch, seq))
    assert logits.shape == (batch, seq, VOCAB_SIZE)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_config
@given(configs(), seeds, st.data())
def test_changing_a_future_token_never_changes_a_past_logit(
    config: ModelConfig, seed: int, data: st.DataObject
) -> None:
    first_change = data.draw(st.integers(1, config.context_length - 1))
    model, ids = random_model(config, seed), random_ids(2, config.context_length, seed)
    other = ids.clone()
    other[:, first_change:] = (other[:, first_change:] + 1) % VOCAB_SIZE
    # Exactly: a hidden score is -inf, its weight exactly 0, and each row of a product has its own sums.
    assert torch.equal(model(ids)[:, :first_change], model(other)[:, :first_change])


@pytest.mark.parametrize("positions", POSITIONS)
def test_changing_a_future_token_never_changes_a_past_logit_in_half_precision(positions: str) -> None:
    model, ids = random_model(small_config(positions=positions)), random_ids(2, 12)
    other = ids.clone()
    other[:, 7:] = (other[:, 7:] + 1) % VOCAB_SIZE
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(ids)[:, :7], model(other)[:, :7])


@every_config
@given(configs(), seeds)
def test_changing_the_first_token_changes_every_later_logit_that_no_window_hides_it_from(
    config: ModelConfig, seed: int
) -> None:
    model, ids = random_model(config, seed), random_ids(1, config.context_length, seed)
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % VOCAB_SIZE
    changed = (model(ids) != model(other)).any(-1)[0]
    receptive_field = config.context_length if config.window is None else config.n_layers * (config.window - 1) + 1
    # The farther the token, the less it weighs: only near ones are sure to outweigh the rounding.
    assert changed[: min(receptive_field, 2)].all()
    assert not changed[receptive_field:].any()


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("window", "n_layers"), [(1, 2), (2, 1), (3, 2), (4, 3), (11, 1)])
def test_a_window_reaches_n_layers_times_window_less_one_tokens_back_and_no_further(
    positions: str, window: int, n_layers: int
) -> None:
    # In float64 with small steps, the faintest path through all layers is far above the rounding.
    config = small_config(positions=positions, window=window, n_layers=n_layers)
    model, ids = random_model(config, dtype=torch.float64), random_ids(1, 12)
    reach = n_layers * (window - 1)
    for changed_token in range(12):
        other = ids.clone()
        other[:, changed_token] = (other[:, changed_token] + 1) % VOCAB_SIZE
        changed = (model(ids) != model(other)).any(-1)[0]
        expected = [changed_token <= position <= changed_token + reach for position in range(12)]
        assert changed.tolist() == expected


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        # Some hundred roundings of 6e-8, multiplied by two layers.
        (torch.float32, 5e-6),
        # Roundings of 2^-9 in every product of two layers; the fused and the math kernel also differ.
        (torch.bfloat16, 4e-2),
    ],
)
def test_generating_token_by_token_gives_the_logits_of_training(
    positions: str, precision: torch.dtype, tolerance: float
) -> None:
    config = small_config(positions=positions, n_kv_heads=2, window=7)
    model, ids = random_model(config), random_ids(2, 12)
    session = Reader(model, "fp32").session(2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        expected = model(ids)
    pieces = [session.read(ids[:, :5].numpy()), *(session.read(ids[:, t : t + 1].numpy()) for t in range(5, 12))]
    cached = torch.cat(pieces, 1)
    torch.testing.assert_close(cached, expected.float(), rtol=0, atol=tolerance * largest(expected))


@every_config
@given(configs(), seeds)
def test_a_text_gets_the_same_logits_alone_and_in_a_batch(config: ModelConfig, seed: int) -> None:
    model, ids = random_model(config, seed, torch.float64), random_ids(3, config.context_length, seed)
    together = model(ids)
    alone = torch.cat([model(ids[i : i + 1]) for i in range(3)])
    # Float32 roundings inside the norms, tipped by another order of summation.
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5 * largest(together))


@every_config
@given(configs(), seeds)
def test_gradients_reach_every_parameter(config: ModelConfig, seed: int) -> None:
    model, ids = random_model(config, seed), random_ids(3, config.context_length, seed)
    logits = model(ids)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        if config.window == 1 and name.endswith(("query_norm.weight", "key_norm.weight")):
            continue  # a token that sees itself alone gives it the weight 1, whatever the score
        assert p.grad.any(), name


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu", "gelu_tanh", "silu", "relu2"])
def test_autocast_to_half_precision_stays_near_float32(positions: str, feed_forward: str) -> None:
    model, ids = random_model(small_config(positions=positions, feed_forward=feed_forward)), random_ids(2, 12)
    expected = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(ids)
    # Roundings of 2^-9 in the dozen products of two layers and the head, adding up as random steps do.
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=4e-2 * largest(expected))


def test_dropout_is_random_in_training_and_absent_in_evaluation() -> None:
    ids = random_ids(2, 12)
    model = random_model(small_config(dropout=0.5))
    without = random_model(small_config(dropout=0.0))
    assert torch.equal(model(ids), without(ids))
    model.train()
    torch.manual_seed(1)
    first, second = model(ids), model(ids)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(model(ids), first)


def half_dropped(dropped: Tensor, whole: Tensor) -> bool:
    """Whether each number is either zero or doubled, and about half of them zero (five deviations of 768 draws)."""
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])  # the defaults for float32: 1.3e-6 relative
    return abs(float(kept.float().mean()) - 0.5) < 5 * 0.018


@torch.no_grad()
def test_dropout_falls_on_embeddings_attention_and_what_each_sublayer_writes() -> None:
    model = random_model(small_config(dropout=0.5, norm="none", n_layers=1, bias=True))
    block, ids = model.blocks[0], random_ids(4, 12)
    assert isinstance(block, Block)
    attention, x = block.attention, model.embedding(ids)

    model.train()
    torch.manual_seed(0)
    first, second = attention(x), attention(x)
    kept_twice = (first != 0) & (second != 0)
    assert float((first == 0).float().mean()) == pytest.approx(0.5, abs=5 * 0.018)
    assert not torch.allclose(first[kept_twice], second[kept_twice])  # its probabilities were dropped before

    for p in attention.out.parameters():
        p.zero_()
    assert half_dropped(block(x) - x, block.feed_forward(x))
    for p in block.feed_forward.down.parameters():
        p.zero_()
    assert half_dropped(model.hidden(ids), x)


@pytest.mark.parametrize("positions", POSITIONS)
def test_more_tokens_than_the_context_are_refused(positions: str) -> None:
    config = small_config(positions=positions)
    model = Transformer(config, VOCAB_SIZE)
    session = model.session(1)
    with pytest.raises(AssertionError, match="13 positions in a context of 12"):
        model(random_ids(1, 13))
    session.read(random_ids(1, 12).numpy())
    with pytest.raises(AssertionError, match="13 positions in a context of 12"):
        session.read(random_ids(1, 1).numpy())
