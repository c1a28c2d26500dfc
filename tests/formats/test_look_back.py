"""Heads that begin by looking back."""

import math
from typing import Any

import pytest
import torch

from lm.formats.look_back import look_back
from lm.formats.parameters import parameter_table
from lm.model.transformer import Transformer
from tests.model.configs import small_config

USUAL: dict[str, Any] = {"context_length": 64, "d_model": 128, "n_heads": 4, "n_layers": 2, "positions": "rope"}


def looks(n_tokens_back: int, layer: int, head: int, **changes: Any) -> float:
    """The share of its attention that a head of a fresh model gives to so many tokens back, in random text."""
    model = Transformer(small_config(**USUAL | changes), vocab_size=300, seed=3).eval()
    ids = torch.randint(300, (4, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = model.attention_weights(ids)[layer]
    return float(weights[:, head].diagonal(-n_tokens_back, dim1=-2, dim2=-1)[:, 8:].mean())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qk_norm": False},
        {"norm": "layernorm"},
        {"rope_theta": 100.0},
        {"base_width": 64},
        {"n_kv_heads": 4},
        {"norm_position": "post", "qk_norm": True},
    ],
)
def test_the_first_head_begins_by_looking_at_the_token_before(changes: dict[str, Any]) -> None:
    changes = {"qk_norm": True, "norm": "rmsnorm"} | changes
    before = looks(1, 0, 0, look_back_heads=None, **changes)
    assert before > 0.3
    assert before > 1.5 * looks(2, 0, 0, look_back_heads=None, **changes)
    # Without it, and in other heads and layers, a token before is one among dozens.
    others = [(0, 2), (1, 0)]
    assert max(looks(1, layer, head, look_back_heads=None, **changes) for layer, head in others) < 0.1
    assert looks(1, 0, 0, look_back_heads=0, **changes) < 0.1


def test_further_heads_look_further_back_and_a_group_of_heads_has_one_that_does() -> None:
    assert min(looks(back, 0, back - 1, qk_norm=True, look_back_heads=3) for back in (1, 2, 3)) > 0.3
    grouped: dict[str, Any] = {"qk_norm": True, "n_kv_heads": 2, "look_back_heads": 2}
    assert looks(1, 0, 0, **grouped) > 0.3
    assert looks(2, 0, 2, **grouped) > 0.3
    assert max(looks(1, 0, 1, **grouped), looks(2, 0, 3, **grouped)) < 0.1


def test_null_is_two_such_heads_with_rotary_positions_and_none_without() -> None:
    assert small_config(positions="rope", look_back_heads=None).sizes.look_back_heads == 2
    assert small_config(positions="rope", n_kv_heads=1, look_back_heads=None).sizes.look_back_heads == 1
    assert small_config(positions="learned", look_back_heads=None).sizes.look_back_heads == 0
    for positions, count in (("alibi", None), ("rope", 0)):
        config = small_config(positions=positions, look_back_heads=count)
        assert look_back(config) == {}
        assert all(spec.first_column is None for spec in parameter_table(config, 37).values())


def test_all_other_numbers_are_those_of_a_model_without_such_heads() -> None:
    with_heads, without = (
        Transformer(small_config(**USUAL, qk_norm=False, look_back_heads=count), 300, seed=3).state_dict()
        for count in (1, 0)
    )
    changed = {"embedding.weight", "blocks.0.attention.qkv.weight"}
    for name, weight in with_heads.items():
        assert torch.equal(weight, without[name]) == (name not in changed), name
        if name in changed:
            assert torch.equal(weight[:, 1:], without[name][:, 1:])
    column = with_heads["blocks.0.attention.qkv.weight"][:, 0]
    assert column.count_nonzero() == 2 * 8 - 4  # a quarter of 16 pairs in query and key; the sines of the key are 0
    assert float(column.norm()) == pytest.approx(0.5 * math.sqrt(2 * 4), rel=1e-6)
