"""Which parameter is updated how; and that with `base_width` one learning rate serves every width."""

from typing import Any

import numpy as np
import pytest
import torch

from lm.formats.parameters import parameter_table
from lm.model.transformer import Transformer
from lm.optim.rules import UpdateRule, update_rule
from lm.training.batch import Batch
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "untied": {"tie_embeddings": False},
    "everything": {
        "tie_embeddings": False,
        "positions": "learned",
        "norm": "layernorm",
        "bias": True,
        "qk_norm": True,
        "norm_position": "post",
    },
}
OPTIMIZERS = ["muon", "adamw", "adam", "sgd"]

BLOCK = ["attention.qkv", "attention.out", "feed_forward.up", "feed_forward.gate", "feed_forward.down"]
HIDDEN = {f"blocks.{layer}.{name}.weight" for layer in range(2) for name in BLOCK}
TABLES = {"embedding.weight", "position_embedding.weight", "head.weight"}


def rules(optimizer: str, **changes: Any) -> dict[str, UpdateRule]:
    train = train_config(optimizer=optimizer, weight_decay=0.3)
    table = parameter_table(model_config(**changes), vocab_size=37)
    return {name: update_rule(spec, train) for name, spec in table.items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_muon_takes_the_matrices_of_blocks_and_weight_decay_falls_on_all_matrices(optimizer: str, variant: str) -> None:
    found = rules(optimizer, **VARIANTS[variant])
    matrices = HIDDEN | (TABLES & found.keys())
    assert {name for name, rule in found.items() if rule.orthogonal} == (HIDDEN if optimizer == "muon" else set())
    assert {name: rule.weight_decay for name, rule in found.items()} == {
        name: 0.3 if name in matrices else 0.0 for name in found
    }
    assert {rule.rate_scale for rule in found.values()} == {1.0}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_muon_s_parts_are_those_of_the_table(optimizer: str) -> None:
    table = parameter_table(model_config(n_kv_heads=1, bias=True), vocab_size=37)
    found = {
        name: update_rule(spec, train_config(optimizer=optimizer, muon_parts=True)) for name, spec in table.items()
    }
    in_parts = {f"blocks.{layer}.attention.qkv.weight" for layer in range(2)} if optimizer == "muon" else set()
    assert {name: rule.parts for name, rule in found.items()} == {
        name: (16, 8, 8) if name in in_parts else () for name in found
    }
    assert {rule.parts for rule in rules(optimizer).values()} == {()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("optimizer", "hidden", "others"),
    [("muon", 0.5, 1.0), ("adamw", 0.25, 1.0), ("adam", 0.25, 1.0), ("sgd", 1.0, 4.0)],
)
def test_at_four_times_the_base_width_rates_are_scaled_and_weights_forgotten_as_fast(
    optimizer: str, hidden: float, others: float, variant: str
) -> None:
    found = rules(optimizer, d_model=32, base_width=8, **VARIANTS[variant])
    without = rules(optimizer, d_model=32, **VARIANTS[variant])
    for name, rule in found.items():
        assert rule.rate_scale == (hidden if name in HIDDEN else others), name
        assert rule.rate_scale * rule.weight_decay == pytest.approx(without[name].weight_decay), name
        assert rule.orthogonal == without[name].orthogonal


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_at_the_base_width_nothing_changes(optimizer: str) -> None:
    assert rules(optimizer, base_width=16) == rules(optimizer)


RATES = {"muon": 1e-3, "adamw": 1e-3, "adam": 1e-3, "sgd": 0.1}
BASE_WIDTH = 64


def change_of_a_step(optimizer: str, d_model: int, base_width: int | None) -> dict[str, float]:
    """How far a step moves what a model computes: the root of the mean square of the difference.

    Heads grow in number, not in size: as Yang et al. scale attention.
    """
    config = model_config(d_model=d_model, n_heads=d_model // 16, n_layers=1, d_ff=None, base_width=base_width)
    # Adam divides its weight decay by the size of the gradients, and no scale makes that the same at every width.
    train = train_config(optimizer=optimizer, clip_norm=None, weight_decay=0.0)
    model = Transformer(config, vocab_size=64, seed=0)
    backend = TorchBackend(model, train, torch.device("cpu"))
    windows = np.random.Generator(np.random.Philox(0)).integers(0, 64, (4, config.context_length + 1))
    outputs: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith((".qkv", ".out", ".up", ".down", "final_norm")):
            module.register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y.detach()}))

    def computed() -> dict[str, torch.Tensor]:
        outputs["logits"] = model(torch.from_numpy(windows[:, :-1])).detach()
        return dict(outputs)

    before = computed()
    backend.gradient([Batch.of_windows(windows)], (0, 0))
    backend.update(RATES[optimizer])
    after = computed()
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in before}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_a_base_width_a_step_changes_every_layer_and_the_logits_by_as_much_at_any_width(optimizer: str) -> None:
    # The coordinate check of Yang et al. 2022, appendix D.1.
    narrow, wide = (change_of_a_step(optimizer, d_model, BASE_WIDTH) for d_model in (BASE_WIDTH, 512))
    assert narrow.keys() == wide.keys()
    assert len(narrow) == 6
    for name in narrow:
        # A part of the change is of random weights, whose sums fall as 1 / sqrt(d_model) in the logits.
        assert 0.6 <= wide[name] / narrow[name] <= 1.3, name

    wide = change_of_a_step(optimizer, 512, None)
    assert narrow == pytest.approx(change_of_a_step(optimizer, BASE_WIDTH, None))
    assert wide["logits"] / narrow["logits"] > 5
    assert wide["blocks.0.feed_forward.down"] / narrow["blocks.0.feed_forward.down"] > 5
