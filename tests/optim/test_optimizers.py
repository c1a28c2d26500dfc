"""Our optimizers against PyTorch's."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from lm.optim.optimizers import SGD, Adam, AdamW

SHAPES = [(3, 4), (5,), (2, 2, 2), ()]

# Both sides round a handful of times a step in float64, 1e-16 each, in slightly different orders. With decay in the
# gradient, an Adam step near a gradient of 0 multiplies what has come together by up to lr / eps.
TOLERANCE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-10}

rates = st.floats(1e-5, 1.0)
decays = st.just(0.0) | st.floats(1e-4, 0.5)
betas = st.tuples(st.just(0.0) | st.floats(0.1, 0.999), st.just(0.0) | st.floats(0.1, 0.999))
epsilons = st.floats(1e-10, 1e-2)
momenta = st.sampled_from([(0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)])  # and Nesterov's
seeds = st.integers(0, 2**32 - 1)


def random_parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]


def groups_of(parameters: list[nn.Parameter], *options: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters dealt out to as many groups as there are options."""
    return [{"params": parameters[i :: len(options)]} | option for i, option in enumerate(options)]


def random_steps(optimizer: Optimizer, parameters: list[nn.Parameter], seed: int, n_steps: int = 20) -> None:
    """Steps with random gradients of all sizes, now and then none, and a learning rate that changes."""
    generator = torch.Generator().manual_seed(seed)
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in range(n_steps):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (step + 1) / n_steps
        size = 10.0 ** (2 - step % 5)
        for p in parameters:
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            missing = float(torch.rand((), generator=generator)) < 0.2
            p.grad = None if missing else size * noise
        optimizer.step()
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak


def assert_same_path(
    ours: Callable[[Any], Optimizer], theirs: Callable[[Any], Optimizer], seed: int, *options: Any
) -> None:
    actual, expected = random_parameters(seed), random_parameters(seed)
    random_steps(ours(groups_of(actual, *options)), actual, seed)
    random_steps(theirs(groups_of(expected, *options)), expected, seed)
    for a, b, start in zip(actual, expected, random_parameters(seed), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
        assert not torch.equal(a, start)


@settings(max_examples=40)
@given(rates, momenta, st.tuples(decays, decays), seeds)
def test_sgd_equals_pytorch_s(rate: float, momentum: tuple[float, bool], decay: tuple[float, float], seed: int) -> None:
    options = [{"weight_decay": decay[0]}, {"weight_decay": decay[1], "lr": rate / 2}]
    assert_same_path(
        lambda groups: SGD(groups, rate, *momentum),
        lambda groups: torch.optim.SGD(groups, rate, momentum[0], nesterov=momentum[1]),
        seed,
        *options,
    )


@settings(max_examples=40)
@given(st.sampled_from(["adam", "adamw"]), rates, betas, epsilons, st.tuples(decays, decays), seeds)
def test_adam_and_adamw_equal_pytorch_s(
    kind: str,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    decay: tuple[float, float],
    seed: int,
) -> None:
    ours, theirs = (Adam, torch.optim.Adam) if kind == "adam" else (AdamW, torch.optim.AdamW)
    options = [{"weight_decay": decay[0]}, {"weight_decay": decay[1], "lr": rate / 2, "betas": (0.8, 0.9)}]
    assert_same_path(
        lambda groups: ours(groups, rate, betas, eps), lambda groups: theirs(groups, rate, betas, eps), seed, *options
    )


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda groups: SGD(groups, 0.1, momentum=0.0),
    "sgd with momentum": lambda groups: SGD(groups, 0.1, momentum=0.9),
    "sgd with nesterov's momentum": lambda groups: SGD(groups, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda groups: Adam(groups, 0.1, (0.9, 0.95), 1e-8),
    "adamw": lambda groups: AdamW(groups, 0.1, (0.9, 0.95), 1e-8),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_saved_and_loaded_state_continues_bit_by_bit(kind: str) -> None:
    options = [{"weight_decay": 0.1}, {"weight_decay": 0.0}]
    parameters = random_parameters(0)
    optimizer = OPTIMIZERS[kind](groups_of(parameters, *options))
    random_steps(optimizer, parameters, seed=1, n_steps=7)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)

    resumed_parameters = [nn.Parameter(p.detach().clone()) for p in parameters]
    resumed = OPTIMIZERS[kind](groups_of(resumed_parameters, *options))
    random_steps(resumed, resumed_parameters, seed=2, n_steps=1)  # nothing of it is left afterwards
    for a, b in zip(resumed_parameters, parameters, strict=True):
        a.detach().copy_(b)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    random_steps(optimizer, parameters, seed=2, n_steps=7)
    random_steps(resumed, resumed_parameters, seed=2, n_steps=7)
    for a, b in zip(parameters, resumed_parameters, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_without_its_state_adam_would_go_another_way(kind: str) -> None:
    parameters = random_parameters(0)
    optimizer = OPTIMIZERS[kind](groups_of(parameters, {"weight_decay": 0.1}))
    random_steps(optimizer, parameters, seed=1, n_steps=7)
    forgetful_parameters = [nn.Parameter(p.detach().clone()) for p in parameters]
    forgetful = OPTIMIZERS[kind](groups_of(forgetful_parameters, {"weight_decay": 0.1}))
    random_steps(optimizer, parameters, seed=2, n_steps=7)
    random_steps(forgetful, forgetful_parameters, seed=2, n_steps=7)
    assert not any(torch.equal(a, b) for a, b in zip(parameters, forgetful_parameters, strict=True))


def one_step(optimizer: Callable[[Any], Optimizer], weight: float, grad: float) -> float:
    p = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    p.grad = torch.tensor(grad, dtype=torch.float64)
    optimizer([{"params": [p], "weight_decay": 0.5}]).step()
    return float(p.detach())


def test_the_first_steps_by_hand() -> None:
    assert one_step(OPTIMIZERS["sgd"], weight=2.0, grad=3.0) == pytest.approx(2 - 0.1 * (3 + 0.5 * 2))
    # The velocity is the gradient yet: Nesterov's step looks 0.9 of it ahead, the other not at all.
    ahead = OPTIMIZERS["sgd with nesterov's momentum"]
    assert one_step(ahead, weight=2.0, grad=3.0) == pytest.approx(2 - 0.1 * (1 + 0.9) * (3 + 0.5 * 2))
    assert one_step(OPTIMIZERS["sgd with momentum"], weight=2.0, grad=3.0) == pytest.approx(2 - 0.1 * (3 + 0.5 * 2))
    # Adam's first step is the learning rate times the sign of the gradient; eps takes 1e-8 of it.
    assert one_step(OPTIMIZERS["adam"], weight=2.0, grad=3.0) == pytest.approx(2 - 0.1, rel=1e-8)
    assert one_step(OPTIMIZERS["adam"], weight=2.0, grad=-0.5) == pytest.approx(2 - 0.1, rel=1e-8)  # decay turns it
    assert one_step(OPTIMIZERS["adamw"], weight=2.0, grad=-0.5) == pytest.approx(2 - 0.1 * 0.5 * 2 + 0.1, rel=1e-8)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_parameter_without_a_gradient_stays_where_it_is(kind: str) -> None:
    still, moving = (nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    moving.grad = torch.ones(3, dtype=torch.float64)
    OPTIMIZERS[kind]([{"params": [still, moving], "weight_decay": 0.1}]).step()
    assert torch.equal(still, torch.ones_like(still))
    assert not torch.equal(moving, torch.ones_like(moving))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_of_a_bowl(kind: str) -> None:
    p = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    target = torch.tensor([1.0, 0.5], dtype=torch.float64)
    optimizer = OPTIMIZERS[kind]([{"params": [p]}])

    def loss() -> Tensor:
        return (p - target).square().sum()

    for _ in range(200):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    # From 10.25. The rate is constant, so momentum and Adam may still swing by a few hundredths.
    assert float(loss().detach()) < 1e-3
