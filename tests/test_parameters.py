"""Names, shapes and order of parameters are those of the model in PyTorch."""

import pytest
from hypothesis import given, settings

from lm.config.model import ModelConfig
from lm.model.transformer import Transformer
from lm.parameters import n_parameters, parameter_shapes
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
