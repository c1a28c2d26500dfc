"""The optimizers on arrays against PyTorch's, and clipping against PyTorch's, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lm.reference.optimizers import SGD, Adam, AdamW, Optimizer, build_optimizer, clip_gradients
from lm.reference.parameter import Parameter
from tests.reference.oracle import random_array
from tests.small import train_config

SHAPES = [(3, 4), (5,), (2, 2, 2), (1,)]

rates = st.floats(1e-5, 1.0)
decays = st.lists(st.just(0.0) | st.floats(1e-4, 0.5), min_size=len(SHAPES), max_size=len(SHAPES))
betas = st.tuples(st.just(0.0) | st.floats(0.1, 0.999), st.just(0.0) | st.floats(0.1, 0.999))
epsilons = st.floats(1e-10, 1e-2)
seeds = st.integers(0, 2**32 - 1)


def random_parameters(seed: int) -> list[Parameter]:
    return [Parameter(random_array(*shape, seed=seed + i)) for i, shape in enumerate(SHAPES)]


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
        lambda parameters: SGD(parameters, decays, *momentum),
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
        lambda parameters: ours(parameters, decays, betas, eps),
        lambda groups: theirs(groups, rate, betas, eps),
        decays,
        rate,
        seed,
    )


@pytest.mark.parametrize(("kind", "expected"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_the_configuration_chooses_and_decay_falls_on_matrices_alone(kind: str, expected: type[Optimizer]) -> None:
    config = train_config(
        optimizer=kind, weight_decay=0.3, momentum=0.7, nesterov=True, betas=[0.6, 0.8], eps=1e-3, learning_rate=0.1
    )
    optimizer = build_optimizer(random_parameters(0), config)
    assert type(optimizer) is expected
    assert optimizer.decays == [0.3, 0.0, 0.3, 0.0]
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
