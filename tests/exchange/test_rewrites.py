"""Each rewrite removes its switch, and the model computes the same logits.

Tolerance: as in the oracles. The rewrites move factors from one place to another, which rounds anew.
"""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.model import ModelConfig
from lm.exchange.rewrites import (
    Model,
    Rewrite,
    add_biases,
    drop_idle_window,
    fold_output_scale,
    learn_positions,
    repeat_heads,
    shorten_to_window,
    untie,
)
from lm.model.transformer import Transformer
from tests.model.configs import VOCAB_SIZE, configs, largest, random_ids, random_model

TOLERANCE = 1e-5
# Each rewrite, and the switches that it leaves.
REWRITES: list[tuple[Rewrite, dict[str, Any]]] = [
    (drop_idle_window, {}),
    (shorten_to_window, {"window": None}),
    (untie, {"tie_embeddings": False}),
    (learn_positions, {}),
    (lambda model: fold_output_scale(learn_positions(model)), {"base_width": None}),
    (add_biases, {"bias": True}),
    (repeat_heads, {"n_kv_heads": None}),
]


def logits(model: Model, n_tokens: int) -> torch.Tensor:
    """Of the first tokens of two random texts."""
    transformer = Transformer(model.config, VOCAB_SIZE).eval()
    transformer.load_state_dict({name: torch.from_numpy(array) for name, array in model.weights.items()})
    with torch.no_grad():
        result: torch.Tensor = transformer(random_ids(2, n_tokens))
    return result


@pytest.mark.parametrize(("rewrite", "left"), REWRITES)
@settings(max_examples=10, deadline=None)
@given(config=configs(), data=st.data())
def test_a_rewrite_keeps_the_function(
    rewrite: Rewrite, left: dict[str, Any], config: ModelConfig, data: st.DataObject
) -> None:
    config = config.model_copy(update={"dropout": 0.0})
    weights = {name: p.detach().numpy() for name, p in random_model(config).named_parameters()}
    before = Model(config, weights)
    after = rewrite(before)
    assert left.items() <= after.config.model_dump().items()
    n_tokens = data.draw(st.integers(1, after.config.context_length))
    expected = logits(before, n_tokens)
    torch.testing.assert_close(logits(after, n_tokens), expected, rtol=0, atol=TOLERANCE * largest(expected))
