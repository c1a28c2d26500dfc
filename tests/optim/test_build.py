"""The optimizer of a configuration, and the clipping of gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer

from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.optim.muon import Muon, orthogonalised
from lm.optim.optimizers import SGD, Adam, AdamW
from lm.optim.rules import UpdateRule, update_rule
from lm.training.batch import Batch
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adam", "sgd"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True, "norm": "layernorm", "qk_norm": True, "positions": "learned", "tie_embeddings": False},
        {"base_width": 4, "norm": "none"},
    ],
)
def test_each_parameter_is_in_the_group_of_its_rule(optimizer: str, changes: dict[str, Any]) -> None:
    config = train_config(optimizer=optimizer, weight_decay=0.3)
    model = Transformer(model_config(**changes), vocab_size=37)
    built = build_optimizer(model, model.table, config)
    names = {p: name for name, p in model.named_parameters()}
    found = {
        names[p]: UpdateRule(*(group[field] for field in UpdateRule._fields))
        for group in built.param_groups
        for p in group["params"]
    }
    assert found == {name: update_rule(model.table[name], config) for name in names.values()}
    assert sum(len(group["params"]) for group in built.param_groups) == len(names)  # each once, a tied matrix too
    assert len(built.param_groups) == len(set(found.values()))


def test_a_model_of_one_rule_has_one_group() -> None:
    model = Transformer(model_config(norm="none"), vocab_size=37)
    built = build_optimizer(model, model.table, train_config(weight_decay=0.3))
    assert [group["weight_decay"] for group in built.param_groups] == [0.3]


@pytest.mark.parametrize(
    ("optimizer", "kind", "options"),
    [
        ("sgd", SGD, {"lr": 0.25, "momentum": 0.7, "nesterov": True}),
        ("adam", Adam, {"lr": 0.25, "betas": (0.8, 0.99), "eps": 1e-6}),
        ("adamw", AdamW, {"lr": 0.25, "betas": (0.8, 0.99), "eps": 1e-6}),
        ("muon", Muon, {"lr": 0.25, "betas": (0.8, 0.99), "eps": 1e-6}),
    ],
)
def test_every_number_of_the_configuration_arrives(optimizer: str, kind: type, options: dict[str, Any]) -> None:
    config = train_config(
        optimizer=optimizer, learning_rate=0.25, betas=[0.8, 0.99], eps=1e-6, momentum=0.7, nesterov=True
    )
    model = Transformer(model_config(), vocab_size=37)
    built = build_optimizer(model, model.table, config)
    assert type(built) is kind
    for group in built.param_groups:
        assert {name: group[name] for name in options} == options


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float32), ("fp32", torch.float32)]
)
def test_muon_gets_its_momentum_and_multiplies_in_the_precision_of_the_model(
    precision: str, dtype: torch.dtype
) -> None:
    model = Transformer(model_config(), vocab_size=37, seed=3)
    config = train_config(optimizer="muon", momentum=0.7, precision=precision, weight_decay=0.0, learning_rate=0.1)
    optimizer = build_optimizer(model, model.table, config)
    p = model.get_parameter("blocks.0.attention.out.weight")
    before, momentum = p.detach().clone(), torch.zeros_like(p)
    for seed in range(2):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
        momentum = 0.7 * momentum + 0.3 * p.grad
        (update,) = orthogonalised((0.7 * momentum + 0.3 * p.grad)[None], dtype)
        before -= 0.1 * 0.2 * 4 * update
    # In half precision one other rounding of the momentum changes the update by 1e-2 of it; another precision, all of
    # it by as much.
    assert float((p.detach() - before).norm()) < (1e-6 if dtype == torch.float32 else 3e-3)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adam", "sgd"])
def test_the_backend_multiplies_the_rate_with_the_scale_of_each_group(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Optimizer] = []

    def build_and_keep(*arguments: Any) -> Optimizer:
        built.append(build_optimizer(*arguments))
        return built[-1]

    monkeypatch.setattr("lm.training.torch_backend.build_optimizer", build_and_keep)
    model = Transformer(model_config(base_width=4), vocab_size=37)  # a quarter of its width
    backend = TorchBackend(model, train_config(optimizer=optimizer), torch.device("cpu"))
    backend.gradient([Batch.of_windows(np.zeros((2, 9), np.int64))], (0, 0))
    for rate in (0.5, 0.25):  # the second is not multiplied with what the first left behind
        backend.update(rate)
        (its,) = built
        found = {(group["orthogonal"], group["rate_scale"], group["lr"]) for group in its.param_groups}
        assert (
            found
            == {
                "muon": {(True, 0.5, rate / 2), (False, 1.0, rate)},
                "adamw": {(False, 0.25, rate / 4), (False, 1.0, rate)},
                "adam": {(False, 0.25, rate / 4), (False, 1.0, rate)},
                "sgd": {(False, 1.0, rate), (False, 4.0, rate * 4)},
            }[optimizer]
        )


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
