"""The optimizers on arrays against PyTorch's and their twins, and clipping against PyTorch's, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lm.model.transformer import Transformer as TorchTransformer
from lm.optim.build import build_optimizer as build_torch
from lm.optim.muon import Muon as TorchMuon
from lm.optim.muon import orthogonalised as torch_orthogonalised
from lm.optim.rules import UpdateRule, update_rule
from lm.reference.optimizers import (
    SGD,
    Adam,
    AdamW,
    Muon,
    Optimizer,
    build_optimizer,
    clip_gradients,
    orthogonalised,
)
from lm.reference.parameter import Parameter
from tests.model.configs import VOCAB_SIZE
from tests.reference.oracle import random_array
from tests.small import model_config, numpy_twin, train_config

SHAPES = [(3, 4), (5,), (2, 2, 2), (1,)]

rates = st.floats(1e-5, 1.0)
decays = st.lists(st.just(0.0) | st.floats(1e-4, 0.5), min_size=len(SHAPES), max_size=len(SHAPES))
betas = st.tuples(st.just(0.0) | st.floats(0.1, 0.999), st.just(0.0) | st.floats(0.1, 0.999))
epsilons = st.floats(1e-10, 1e-2)
seeds = st.integers(0, 2**32 - 1)


def random_parameters(seed: int) -> list[Parameter]:
    return [Parameter(random_array(*shape, seed=seed + i)) for i, shape in enumerate(SHAPES)]


def rules_of(decays: list[float]) -> list[UpdateRule]:
    """Rules that differ in weight decay alone."""
    return [UpdateRule(orthogonal=False, weight_decay=decay, rate_scale=1.0) for decay in decays]


def assert_same_path(
    ours: Callable[[list[Parameter]], Optimizer],
    theirs: Callable[[Any], torch.optim.Optimizer],
    decays: list[float],
    rate: float,
    seed: int,
    n_steps: int = 20,
) -> None:
    """Steps with random gradients of all sizes and a learning rate that changes end at the same place."""
    actual = random_parameters(seed)
    expected = [nn.Parameter(torch.tensor(p.value)) for p in actual]
    mine = ours(actual)
    other = theirs([{"params": [p], "weight_decay": decay} for p, decay in zip(expected, decays, strict=True)])
    for step in range(n_steps):
        for group in other.param_groups:
            group["lr"] = rate * (step + 1) / n_steps
        for i, (p, q) in enumerate(zip(actual, expected, strict=True)):
            grad = 10.0 ** (2 - step % 5) * random_array(*p.value.shape, seed=seed + 100 * step + i)
            p.grad, q.grad = grad, torch.tensor(grad)
        mine.step(rate * (step + 1) / n_steps)
        other.step()
    for p, q, start in zip(actual, expected, random_parameters(seed), strict=True):
        # Both sides round a handful of times a step in float64, 1e-16 each, in slightly different orders. With decay in
        # the gradient, an Adam step near a gradient of 0 multiplies what has come together by up to lr / eps.
        np.testing.assert_allclose(p.value, q.detach().numpy(), rtol=1e-9, atol=1e-10)
        assert not np.array_equal(p.value, start.value)


@settings(max_examples=40)
@given(rates, st.sampled_from([(0.0, False), (0.5, False), (0.9, True)]), decays, seeds)
def test_sgd_equals_pytorch_s(rate: float, momentum: tuple[float, bool], decays: list[float], seed: int) -> None:
    assert_same_path(
        lambda parameters: SGD(parameters, rules_of(decays), *momentum),
        lambda groups: torch.optim.SGD(groups, rate, momentum[0], nesterov=momentum[1]),
        decays,
        rate,
        seed,
    )


@settings(max_examples=40)
@given(st.sampled_from(["adam", "adamw"]), rates, betas, epsilons, decays, seeds)
def test_adam_and_adamw_equal_pytorch_s(
    kind: str, rate: float, betas: tuple[float, float], eps: float, decays: list[float], seed: int
) -> None:
    ours, theirs = (Adam, torch.optim.Adam) if kind == "adam" else (AdamW, torch.optim.AdamW)
    assert_same_path(
        lambda parameters: ours(parameters, rules_of(decays), betas, eps),
        lambda groups: theirs(groups, rate, betas, eps),
        decays,
        rate,
        seed,
    )


MATRICES = [(3, 4), (5, 5), (6, 2), (1, 3), (3, 4)]
SECTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {
        "base_width": 4,
        "tie_embeddings": False,
        "positions": "learned",
        "norm": "layernorm",
        "bias": True,
        "qk_norm": True,
    },
}


@settings(max_examples=25)
@given(rates, st.sampled_from([0.0, 0.5, 0.95]), betas, st.sampled_from([0.25, 1.0]), seeds)
def test_muon_equals_its_twin_in_pytorch(
    rate: float, momentum: float, betas: tuple[float, float], rate_scale: float, seed: int
) -> None:
    rules = [UpdateRule(True, 0.3, rate_scale), UpdateRule(False, 0.1, 1.0), UpdateRule(True, 0.3, 1.0, (4, 1, 1))]
    actual = [Parameter(random_array(*s, seed=seed + i)) for i, s in enumerate([*MATRICES, (5,), (7, 2), (6, 3)])]
    expected = [nn.Parameter(torch.tensor(p.value)) for p in actual]
    n = len(MATRICES)
    mine = Muon(actual, [rules[0]] * n + [rules[1]] * 2 + [rules[2]], momentum, betas, 1e-6)
    split = (expected[:n], expected[n : n + 2], expected[n + 2 :])
    groups = [{"params": p, **rule._asdict()} for p, rule in zip(split, rules, strict=True)]
    theirs = TorchMuon(groups, rate, momentum, betas, 1e-6, dtype=torch.float64)
    for step in range(10):
        for group in theirs.param_groups:
            group["lr"] = rate * (step + 1) / 10 * group["rate_scale"]
        for i, (p, q) in enumerate(zip(actual, expected, strict=True)):
            grad = 10.0 ** (2 - step % 5) * random_array(*p.value.shape, seed=seed + 100 * step + i)
            p.grad, q.grad = grad, torch.tensor(grad)
        mine.step(rate * (step + 1) / 10)
        theirs.step()
    for p, q in zip(actual, expected, strict=True):
        # Roundings of 1e-16 a step, which the iteration multiplies by up to 485 and the rate by at most 1.
        np.testing.assert_allclose(p.value, q.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (6, 6), (1, 5)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float64, 1e-13), (np.float32, 3e-5)],  # roundings of 1e-16 and 6e-8, multiplied by up to 485
)
def test_orthogonalised_equals_its_twin_in_pytorch(shape: tuple[int, int], dtype: Any, tolerance: float) -> None:
    for seed in range(20):
        matrix = random_array(*shape, seed=seed).astype(dtype)
        actual = orthogonalised(matrix)
        (expected,) = torch_orthogonalised(torch.tensor(matrix)[None], torch.tensor(matrix).dtype).numpy()
        assert actual.dtype == dtype
        assert actual.shape == shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    zero = np.zeros(shape, dtype)
    assert np.array_equal(orthogonalised(zero), zero)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("kind", ["muon", "adamw", "adam", "sgd"])
def test_the_configuration_makes_the_same_optimizer_as_in_pytorch(kind: str, section: str) -> None:
    model_section = model_config(**SECTIONS[section])
    config = train_config(
        optimizer=kind, weight_decay=0.3, momentum=0.7, nesterov=True, betas=[0.6, 0.8], eps=1e-3, learning_rate=0.1
    )
    model = TorchTransformer(model_section, VOCAB_SIZE)
    twin = numpy_twin(model)
    mine, theirs = build_optimizer(twin.parameters, twin.table, config), build_torch(model, model.table, config)
    tensors = dict(model.named_parameters())
    assert list(tensors) == list(twin.parameters)
    for step in range(3):
        for group in theirs.param_groups:
            group["lr"] = 0.1 * group["rate_scale"]
        for i, (name, p) in enumerate(twin.parameters.items()):
            p.grad = random_array(*p.value.shape, seed=100 * step + i).astype(np.float32)
            tensors[name].grad = torch.tensor(p.grad)
        mine.step(0.1)
        theirs.step()
    for name, p in twin.parameters.items():
        assert p.value.dtype == np.float32
        # Weights of some tenths after three steps in float32, in which Muon's iteration multiplies roundings by 485.
        np.testing.assert_allclose(p.value, tensors[name].detach().numpy(), rtol=1e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(("kind", "expected"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW), ("muon", Muon)])
def test_the_configuration_chooses_and_roles_give_the_rules(kind: str, expected: type[Optimizer]) -> None:
    config = train_config(
        optimizer=kind, weight_decay=0.3, momentum=0.7, nesterov=True, betas=[0.6, 0.8], eps=1e-3, learning_rate=0.1
    )
    twin = numpy_twin(TorchTransformer(model_config(), VOCAB_SIZE))
    parameters, table = twin.parameters, twin.table
    optimizer = build_optimizer(parameters, table, config)
    assert type(optimizer) is expected
    assert optimizer.rules == [update_rule(table[name], config) for name in parameters]
    assert optimizer.parameters == list(parameters.values())
    if isinstance(optimizer, SGD):
        assert (optimizer.momentum, optimizer.nesterov) == (0.7, True)
    else:
        assert (optimizer.betas, optimizer.eps) == ((0.6, 0.8), 1e-3)


@settings(max_examples=30)
@given(seeds, st.sampled_from([None, 1e-3, 0.5, 7.0, 1e6]))
def test_gradients_are_clipped_as_pytorch_clips_them(seed: int, max_norm: float | None) -> None:
    parameters = random_parameters(seed)
    tensors = [nn.Parameter(torch.tensor(p.value)) for p in parameters]
    for i, (p, tensor) in enumerate(zip(parameters, tensors, strict=True)):
        grad = random_array(*p.value.shape, seed=seed + 50 + i)
        p.grad, tensor.grad = grad.copy(), torch.tensor(grad)
    limit = float("inf") if max_norm is None else max_norm
    expected = float(nn.utils.clip_grad_norm_(tensors, limit))
    assert clip_gradients(parameters, max_norm) == pytest.approx(expected, rel=1e-14)
    for p, tensor in zip(parameters, tensors, strict=True):
        assert p.grad is not None
        assert tensor.grad is not None
        np.testing.assert_allclose(p.grad, tensor.grad.numpy(), rtol=1e-14)
