"""The optimizer of a configuration, and the clipping of gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.optim.optimizers import SGD, Adam, AdamW
from tests.small import model_config, train_config


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"bias": True, "norm": "layernorm", "qk_norm": True, "positions": "learned", "tie_embeddings": False}],
)
def test_weight_decay_falls_on_matrices_alone(optimizer: str, changes: dict[str, Any]) -> None:
    model = Transformer(model_config(**changes), vocab_size=37)
    built = build_optimizer(model, train_config(optimizer=optimizer, weight_decay=0.3))
    names = {p: name for name, p in model.named_parameters()}
    decayed, spared = built.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    decayed_names, spared_names = ({names[p] for p in group["params"]} for group in (decayed, spared))
    assert spared_names == {name for name in names.values() if "norm" in name or name.endswith("bias")}
    assert decayed_names == set(names.values()) - spared_names
    assert sum(len(group["params"]) for group in built.param_groups) == len(names)  # each once, a tied matrix too


def test_a_model_without_vectors_has_one_group() -> None:
    built = build_optimizer(Transformer(model_config(norm="none"), vocab_size=37), train_config(weight_decay=0.3))
    assert [group["weight_decay"] for group in built.param_groups] == [0.3]


@pytest.mark.parametrize(
    ("optimizer", "kind", "options"),
    [
        ("sgd", SGD, {"lr": 0.25, "momentum": 0.7, "nesterov": True}),
        ("adam", Adam, {"lr": 0.25, "betas": (0.8, 0.99), "eps": 1e-6}),
        ("adamw", AdamW, {"lr": 0.25, "betas": (0.8, 0.99), "eps": 1e-6}),
    ],
)
def test_every_number_of_the_configuration_arrives(optimizer: str, kind: type, options: dict[str, Any]) -> None:
    config = train_config(
        optimizer=optimizer, learning_rate=0.25, betas=[0.8, 0.99], eps=1e-6, momentum=0.7, nesterov=True
    )
    built = build_optimizer(Transformer(model_config(), vocab_size=37), config)
    assert type(built) is kind
    for group in built.param_groups:
        assert {name: group[name] for name in options} == options


def parameters_with_gradients(seed: int, size: float) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in [(3, 4), (5,), (), (2, 2)]]
    for p in parameters[:-1]:  # the last one has none
        p.grad = size * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return parameters


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-9, 0.1, 1.0, 1e6]), st.sampled_from([1e-3, 1.0, 5.0]))
def test_clipping_equals_pytorch_s_and_returns_the_norm_before(seed: int, size: float, max_norm: float) -> None:
    ours, theirs = parameters_with_gradients(seed, size), parameters_with_gradients(seed, size)
    before = torch.cat([p.grad.flatten() for p in ours if p.grad is not None]).norm()
    norm = clip_gradients(ours, max_norm)
    expected = nn.utils.clip_grad_norm_(theirs, max_norm)
    # Sums of squares in float64, in another order: a few roundings of 1e-16.
    torch.testing.assert_close(norm, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(norm, before, rtol=1e-13, atol=0)
    for a, b in zip(ours, theirs, strict=True):
        if b.grad is None:
            assert a.grad is None
        else:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-13, atol=0)
    after = torch.cat([p.grad.flatten() for p in ours if p.grad is not None]).norm()
    assert float(after) <= max_norm


def test_without_a_limit_the_norm_is_told_and_the_gradients_stay() -> None:
    clipped, untouched = parameters_with_gradients(0, 1e6), parameters_with_gradients(0, 1e6)
    norm = clip_gradients(clipped, None)
    assert float(norm) > 1e5
    for a, b in zip(clipped[:-1], untouched[:-1], strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)


def test_gradients_within_the_limit_stay() -> None:
    clipped, untouched = parameters_with_gradients(0, 1.0), parameters_with_gradients(0, 1.0)
    clip_gradients(clipped, 100.0)
    for a, b in zip(clipped[:-1], untouched[:-1], strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)
