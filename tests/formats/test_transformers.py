"""Weight maps: what they refuse. That they are right, tests/model/test_oracles.py shows with the real models."""

import numpy as np
import pytest

from lm.formats.parameters import parameter_table
from lm.formats.transformers import GPT2, LLAMA, from_transformers, to_transformers
from tests.model.configs import VOCAB_SIZE, small_config


def test_a_missing_array_is_named_with_the_parameter_that_needs_it() -> None:
    table = parameter_table(small_config(), VOCAB_SIZE)
    theirs = to_transformers({name: np.zeros(spec.shape) for name, spec in table.items()}, LLAMA, table)
    del theirs["model.layers.1.self_attn.k_proj.weight"]
    message = r"model\.layers\.1\.self_attn\.k_proj\.weight: missing, but blocks\.1\.attention\.qkv\.weight needs it"
    with pytest.raises(ValueError, match=message):
        from_transformers(theirs, LLAMA, table)


def test_an_array_that_is_left_over_is_named_and_the_head_of_a_tied_model_is_not_needed() -> None:
    table = parameter_table(small_config(), VOCAB_SIZE)
    theirs = to_transformers({name: np.zeros(spec.shape) for name, spec in table.items()}, LLAMA, table)
    tied = from_transformers(theirs | {"lm_head.weight": np.zeros(2)}, LLAMA, table)
    assert list(tied) == list(table)
    bias = {"model.layers.0.self_attn.q_proj.bias": np.zeros(2)}
    with pytest.raises(ValueError, match=r"q_proj\.bias: no parameter of this model is made of it"):
        from_transformers(theirs | bias, LLAMA, table)


def test_a_parameter_that_the_map_does_not_know_is_named() -> None:
    table = parameter_table(small_config(qk_norm=True, norm="layernorm"), VOCAB_SIZE)
    ours = {name: np.zeros(spec.shape) for name, spec in table.items()}
    with pytest.raises(ValueError, match=r"blocks\.0\.attention\.query_norm\.weight: is not in the weight map"):
        to_transformers(ours, GPT2, table)
