"""Initial weights, sizes, and how many parameters there are."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.model import ModelConfig
from lm.formats.parameters import parameter_table
from lm.model.transformer import Transformer
from tests.model.configs import VOCAB_SIZE, configs, random_ids, random_model, small_config

PARAMS = Path(__file__).parents[2] / "params.yaml"


@settings(max_examples=30)
@given(configs(), st.integers(0, 2**32 - 2))
def test_the_seed_alone_decides_the_weights(config: ModelConfig, seed: int) -> None:
    torch.manual_seed(0)
    table = parameter_table(config, VOCAB_SIZE)
    first = Transformer(config, VOCAB_SIZE, seed).state_dict()
    torch.manual_seed(1)  # and no hidden generator
    second, other = (Transformer(config, VOCAB_SIZE, s).state_dict() for s in (seed, seed + 1))
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name
        # Norms and biases are the same in all, and so are matrices that start at zero.
        same = table[name].start is not None or table[name].deviation == 0
        assert torch.equal(weight, other[name]) == same, name


@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize("n_layers", [1, 6])
@pytest.mark.parametrize(("base_width", "hidden"), [(None, 0.02), (64, 0.02), (16, 0.01), (256, 0.04)])
def test_matrices_have_the_deviation_0_02_or_that_of_their_width_and_those_that_write_to_the_residual_stream_less(
    positions: str, n_layers: int, base_width: int | None, hidden: float
) -> None:
    config = small_config(
        d_model=64,
        n_layers=n_layers,
        context_length=64,
        positions=positions,
        d_ff=None,
        bias=True,
        tie_embeddings=False,
        base_width=base_width,
    )
    model = Transformer(config, vocab_size=300, seed=7)
    for name, p in model.named_parameters():
        if p.ndim < 2:
            assert torch.equal(p, torch.zeros_like(p) if name.endswith("bias") else torch.ones_like(p)), name
            continue
        residual = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
        expected = hidden if name.startswith("blocks.") else 0.02
        expected /= math.sqrt(2 * n_layers) if residual else 1
        # Of n draws the deviation is off by 1 / sqrt(2 n) of itself, and the mean by 1 / sqrt(n): five times that.
        assert float(p.detach().std()) == pytest.approx(expected, rel=5 / math.sqrt(2 * p.numel())), name
        assert float(p.detach().mean()) == pytest.approx(0, abs=5 * expected / math.sqrt(p.numel())), name


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_with_zero_init_the_sublayers_of_every_block_add_nothing_at_first(norm_position: str) -> None:
    config = small_config(zero_init=True, norm="rmsnorm", norm_position=norm_position, bias=True)
    model, usual = (
        Transformer(small_config(**config.model_dump() | {"zero_init": z}), VOCAB_SIZE) for z in (True, False)
    )
    zeros = {name for name, p in model.named_parameters() if p.ndim == 2 and not p.any()}
    assert zeros == {f"blocks.{n}.{x}.weight" for n in range(2) for x in ("attention.out", "feed_forward.down")}
    for name, p in model.named_parameters():
        if name not in zeros:
            assert torch.equal(p, usual.get_parameter(name)), name  # the zeros too are drawn, so that others stay
    x = torch.randn(2, 5, config.d_model, generator=torch.Generator().manual_seed(0))
    for block in model.blocks:
        y = block(x)
        if norm_position == "pre":
            assert torch.equal(y, x)
        else:  # only its norms act
            normed = x / x.square().mean(-1, keepdim=True).sqrt()
            torch.testing.assert_close(y, normed, rtol=0, atol=1e-4)  # 1e-5 under the root, twice


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_logits_are_multiplied_with_the_base_width_over_the_width(norm_position: str, tie_embeddings: bool) -> None:
    changes: dict[str, Any] = {"norm_position": norm_position, "tie_embeddings": tie_embeddings}
    one, scaled = (random_model(small_config(base_width=width, **changes)) for width in (None, 4))
    ids = random_ids(2, 12)
    assert torch.equal(scaled(ids), one(ids) / 4)  # exactly: a power of two
    assert torch.equal(scaled.hidden(ids), one.hidden(ids) / 4)
    assert torch.equal(random_model(small_config(base_width=16, **changes))(ids), one(ids))


def test_a_seed_gives_these_weights() -> None:
    # Golden: another order of drawing would silently change every trained model. Float32 is exact to 1e-9 here.
    model = Transformer(small_config(), VOCAB_SIZE, seed=1337)
    weights = model.state_dict()
    first = weights["embedding.weight"][0, :3].tolist()
    last = weights["blocks.1.feed_forward.down.weight"][-1, -3:].tolist()
    assert first == pytest.approx([0.003615431720, -0.001399761881, -0.007192469668], abs=1e-8)
    assert last == pytest.approx([0.007103451527, 0.010611765087, 0.009388645180], abs=1e-8)


def test_a_model_of_four_layers_of_128_and_a_vocabulary_of_2048_has_1_016_960_parameters() -> None:
    embedding = 2048 * 128  # the head is the same matrix
    attention = 3 * 128 * 128 + 128 * 128
    feed_forward = 3 * 128 * 320
    norms = 2 * 128
    expected = embedding + 4 * (attention + feed_forward + norms) + 128
    assert expected == 1_016_960
    model = Transformer(small_config(d_model=128, n_layers=4, d_ff=None), vocab_size=2048)
    assert model.n_parameters == expected


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """How many parameters a configuration asks for, by hand."""
    d, d_kv = config.d_model, config.sizes.n_kv_heads * config.d_head
    norm = {"rmsnorm": d, "layernorm": d + config.bias * d, "none": 0}[config.norm]
    attention = d * (d + 2 * d_kv) + d * d + config.bias * (2 * d + 2 * d_kv) + config.qk_norm * 2 * config.d_head
    n_inputs = 2 if config.feed_forward == "swiglu" else 1
    feed_forward = (n_inputs + 1) * d * config.sizes.d_ff + config.bias * (n_inputs * config.sizes.d_ff + d)
    return (
        vocab_size * d * (1 if config.tie_embeddings else 2)
        + (config.context_length * d if config.positions == "learned" else 0)
        + config.n_layers * (attention + feed_forward + 2 * norm)
        + (norm if config.norm_position == "pre" else 0)
    )


@settings(max_examples=50)
@given(configs())
def test_the_parameter_count_follows_from_the_configuration(config: ModelConfig) -> None:
    assert Transformer(config, VOCAB_SIZE).n_parameters == parameter_count(config, VOCAB_SIZE)


def test_the_model_of_params_yaml_has_as_many_parameters_as_its_numbers_say() -> None:
    config = ModelConfig.load(PARAMS)
    assert Transformer(config, vocab_size=2048).n_parameters == parameter_count(config, 2048)


@pytest.mark.parametrize(
    ("d_model", "feed_forward", "expected"),
    [
        # The nearest multiple of 64 to 8/3 d_model, at least one.
        (512, "swiglu", 1344),
        (128, "swiglu", 320),
        (384, "swiglu", 1024),
        (256, "swiglu", 704),
        (768, "swiglu", 2048),
        (16, "swiglu", 64),
        (4, "swiglu", 64),
        (128, "gelu", 512),
        (512, "silu", 2048),
        (16, "relu2", 64),
    ],
)
def test_the_width_of_the_feed_forward_layer_follows_from_d_model(
    d_model: int, feed_forward: str, expected: int
) -> None:
    config = small_config(d_model=d_model, feed_forward=feed_forward, d_ff=None, n_heads=2)
    assert config.sizes.d_ff == expected
    assert small_config(d_model=d_model, feed_forward=feed_forward, d_ff=17, n_heads=2).sizes.d_ff == 17


def test_a_tied_model_has_no_head_of_its_own_and_trains_one_matrix() -> None:
    tied, untied = (Transformer(small_config(tie_embeddings=tie), VOCAB_SIZE) for tie in (True, False))
    assert {name for name, _ in untied.named_parameters()} - {name for name, _ in tied.named_parameters()} == {
        "head.weight"
    }
    hidden = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tied.logits(hidden), hidden @ tied.embedding.weight.T)


def test_an_untrained_model_knows_nothing() -> None:
    model = Transformer(small_config(d_model=128, context_length=64, d_ff=None), vocab_size=2048, seed=1337)
    ids = torch.randint(2048, (4, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        log_probabilities = model(ids).log_softmax(-1)
    # The final norm makes hidden numbers of size 1, so logits deviate by 0.02 sqrt(128) = 0.23 and cost 0.23^2 / 2.
    surprise = -float(log_probabilities.mean())
    assert surprise == pytest.approx(math.log(2048) + 0.026, abs=0.01)
