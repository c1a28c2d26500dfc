"""Names, shapes and order of parameters are those of the model in PyTorch."""

import pytest
from hypothesis import given, settings

from lm.config.model import ModelConfig
from lm.formats.parameters import initial_deviation, n_parameters, parameter_shapes
from lm.model.transformer import Transformer
from tests.model.configs import VOCAB_SIZE, configs, small_config


@settings(max_examples=100)
@given(configs())
def test_names_shapes_and_order_are_those_of_the_model_in_pytorch(config: ModelConfig) -> None:
    model = Transformer(config, VOCAB_SIZE)
    expected = [(name, tuple(weight.shape)) for name, weight in model.state_dict().items()]
    assert list(parameter_shapes(config, VOCAB_SIZE).items()) == expected
    assert n_parameters(config, VOCAB_SIZE) == model.n_parameters


@pytest.mark.parametrize("vocab_size", [1, 50_000])
def test_the_vocabulary_widens_the_embedding_and_a_head_of_its_own(vocab_size: int) -> None:
    tied, untied = (parameter_shapes(small_config(tie_embeddings=tie), vocab_size) for tie in (True, False))
    assert tied["embedding.weight"] == untied["embedding.weight"] == untied["head.weight"] == (vocab_size, 16)
    assert untied.keys() - tied.keys() == {"head.weight"}


OUT, DOWN = "blocks.0.attention.out.weight", "blocks.1.feed_forward.down.weight"


def test_the_first_deviation_follows_from_the_name_and_the_width() -> None:
    config = small_config(n_layers=8, zero_init=False, base_width=None)
    of = {name: initial_deviation(name, config) for name in parameter_shapes(config, 37) if "norm" not in name}
    assert {name for name, deviation in of.items() if deviation != 0.02} == {
        f"blocks.{layer}.{name}.weight" for layer in range(8) for name in ("attention.out", "feed_forward.down")
    }
    assert of[OUT] == of[DOWN] == 0.02 / 4

    config = small_config(n_layers=8, base_width=4)  # a quarter of its width
    assert initial_deviation("blocks.0.attention.qkv.weight", config) == 0.01
    assert initial_deviation(OUT, config) == initial_deviation(DOWN, config) == 0.01 / 4
    tables = ("embedding.weight", "position_embedding.weight", "head.weight")
    assert {initial_deviation(name, config) for name in tables} == {0.02}


@pytest.mark.parametrize("base_width", [None, 4])
def test_with_zero_init_what_writes_to_the_residual_stream_starts_at_zero(base_width: int | None) -> None:
    config = small_config(zero_init=True, base_width=base_width, positions="learned", tie_embeddings=False)
    for name in parameter_shapes(config, 37):
        if "norm" not in name:
            assert (initial_deviation(name, config) == 0) == name.endswith((".out.weight", ".down.weight")), name
