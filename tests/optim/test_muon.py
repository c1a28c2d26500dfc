"""Muon against PyTorch's, and its iteration against the same polynomial of the singular values."""

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from lm.optim.muon import COEFFICIENTS, N_ITERATIONS, Muon, orthogonalised

SQUARE, TALL, WIDE = (4, 4), (6, 3), (3, 8)
MATRICES = [SQUARE, TALL, WIDE, SQUARE, WIDE]  # some of one shape
VECTORS = [(5,), (7, 4)]  # of which one is a table, as an embedding is

seeds = st.integers(0, 2**32 - 1)


def random_parameters(seed: int, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in MATRICES + VECTORS]


def muon(
    parameters: list[nn.Parameter], lr: float = 0.1, momentum: float = 0.95, dtype: torch.dtype = torch.float64
) -> Muon:
    matrices, others = parameters[: len(MATRICES)], parameters[len(MATRICES) :]
    groups = [
        {"params": matrices, "orthogonal": True, "weight_decay": 0.1},
        {"params": others, "orthogonal": False, "weight_decay": 0.2},
    ]
    return Muon(groups, lr, momentum, (0.8, 0.9), 1e-8, dtype=dtype)


def random_steps(optimizers: list[Optimizer], parameters: list[nn.Parameter], seed: int, n_steps: int = 10) -> None:
    """Steps with random gradients of all sizes, and now and then none."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(n_steps):
        for p in parameters:
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
            missing = float(torch.rand((), generator=generator)) < 0.2
            p.grad = None if missing else 10.0 ** (2 - step % 5) * noise
        for optimizer in optimizers:
            optimizer.step()


@settings(max_examples=25)
@given(seeds, st.sampled_from([0.0, 0.5, 0.95]), st.sampled_from([torch.float32, torch.float64]))
def test_muon_equals_pytorch_s_for_matrices_and_adamw_for_the_rest(
    seed: int, momentum: float, dtype: torch.dtype
) -> None:
    start, actual, expected = (random_parameters(seed, dtype) for _ in range(3))
    random_steps([muon(actual, 0.02, momentum, torch.bfloat16)], actual, seed)
    matrices, others = expected[: len(MATRICES)], expected[len(MATRICES) :]
    theirs = torch.optim.Muon(matrices, 0.02, 0.1, momentum, adjust_lr_fn="match_rms_adamw")
    random_steps([theirs, torch.optim.AdamW(others, 0.02, (0.8, 0.9), 1e-8, 0.2)], expected, seed)
    for i, (a, b, before) in enumerate(zip(actual, expected, start, strict=True)):
        moved = float((b - before).detach().norm())
        assert moved > 0
        # The norm of several matrices at once may round to the bfloat16 number beside that of each alone, which is
        # 2^-8 of it, and the iteration multiplies that by up to 8. All else is the same to a rounding of the weights.
        tolerance = 0.03 if i < len(MATRICES) else 1e-5
        assert float((a - b).detach().norm()) <= tolerance * moved


def polynomial_of_singular_values(matrix: Tensor) -> Tensor:
    """What the iteration is meant to be: U S V^T with every singular value sent through the polynomial."""
    a, b, c = COEFFICIENTS
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(N_ITERATIONS):
        s = a * s + b * s**3 + c * s**5
    expected: Tensor = u @ s.diag() @ vt
    return expected


@pytest.mark.parametrize("shape", [SQUARE, TALL, WIDE, (1, 5), (5, 1), (1, 1), (32, 48)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        # Roundings of 1e-16 and 6e-8, multiplied by up to the slope of the polynomial at 0, 3.4445^5 = 485.
        (torch.float64, 1e-13),
        (torch.float32, 3e-5),
        # Roundings of 2^-9; the smallest singular values of a square matrix suffer most.
        (torch.bfloat16, 0.15),
    ],
)
def test_the_iteration_is_a_polynomial_of_the_singular_values(
    shape: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = 100 * torch.randn(6, *shape, generator=generator, dtype=torch.float64)
    for actual, matrix in zip(orthogonalised(matrices, dtype), matrices, strict=True):
        assert actual.dtype == torch.float64
        expected = polynomial_of_singular_values(matrix)
        assert float((actual - expected).norm()) <= tolerance * float(expected.norm())


@settings(max_examples=40)
@given(seeds, st.sampled_from([SQUARE, TALL, WIDE, (16, 16)]), st.sampled_from([1e-3, 1.0, 1e6]))
def test_singular_values_become_about_1_and_singular_vectors_stay(
    seed: int, shape: tuple[int, int], size: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = size * torch.randn(1, *shape, generator=generator, dtype=torch.float64)
    before = torch.linalg.svdvals(matrix[0])
    (update,) = orthogonalised(matrix, torch.float64)
    # The order may change, so that each is looked up: where the matrix sends the right singular vectors.
    u, _, vt = torch.linalg.svd(matrix[0], full_matrices=False)
    after = u.T @ update @ vt.T
    assert float((after - after.diag().diag()).abs().max()) < 1e-10  # 1e-16 times a slope of 485, and some
    large = before / before.norm() > 0.002
    assert (after.diag()[large] > 0.68).all()  # the polynomial's least and largest, found on a fine grid
    assert (after.diag() < 1.21).all()
    assert (after.diag() >= 0).all()


def test_a_gradient_of_zero_moves_nothing() -> None:
    p = nn.Parameter(torch.ones(3, 4))
    p.grad = torch.zeros(3, 4)
    Muon([{"params": [p], "orthogonal": True}], 0.1, 0.9, (0.9, 0.9), 1e-8).step()
    assert torch.equal(p, torch.ones(3, 4))


def test_the_first_step_by_hand() -> None:
    # A diagonal matrix is its own singular values, and all equal ones of n are 1 / sqrt(n) after division by the norm.
    p = nn.Parameter(torch.full((2, 2), 3.0, dtype=torch.float64))
    p.grad = torch.tensor([[7.0, 0.0], [0.0, -7.0]], dtype=torch.float64)
    groups = [{"params": [p], "orthogonal": True, "weight_decay": 0.5}]
    Muon(groups, 0.1, 0.9, (0.9, 0.9), 1e-8, dtype=torch.float64).step()
    s = 0.5**0.5
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    moved = 0.1 * 0.2 * 2**0.5 * s
    shrunk = 3.0 * (1 - 0.1 * 0.5)
    expected = torch.tensor([[shrunk - moved, shrunk], [shrunk, shrunk + moved]], dtype=torch.float64)
    torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_of_one_shape_are_updated_as_each_alone(dtype: torch.dtype) -> None:
    together, alone = random_parameters(3, dtype), random_parameters(3, dtype)
    random_steps([muon(together, dtype=dtype)], together, seed=4)
    groups = [{"params": [p], "orthogonal": i < len(MATRICES)} for i, p in enumerate(alone)]
    decays = [0.1] * len(MATRICES) + [0.2] * len(VECTORS)
    apart: list[Optimizer] = [
        Muon([group], 0.1, 0.95, (0.8, 0.9), 1e-8, decay, dtype) for group, decay in zip(groups, decays, strict=True)
    ]
    random_steps(apart, alone, seed=4)
    for a, b in zip(together, alone, strict=True):
        # Sums in another order: a rounding times the slope of the polynomial at 0, 485, ten times.
        torch.testing.assert_close(a, b, rtol=0, atol={torch.float32: 1e-4, torch.float64: 1e-12}[dtype])


@pytest.mark.parametrize("parts", [(4, 4, 4), (4, 2, 2), (1, 5), (8,)])
def test_parts_are_updated_as_matrices_of_their_own(parts: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = [torch.randn(sum(parts), 3, generator=generator, dtype=torch.float64) for _ in range(2)]
    together = [nn.Parameter(matrix.clone()) for matrix in stored]
    apart = [[nn.Parameter(part.clone()) for part in torch.split(matrix, list(parts))] for matrix in stored]
    one = Muon(
        [{"params": together, "orthogonal": True, "parts": parts}], 0.1, 0.9, (0.9, 0.9), 1e-8, 0.2, torch.float64
    )
    alone = [{"params": [p], "orthogonal": True} for matrix in apart for p in matrix]
    others = Muon(alone, 0.1, 0.9, (0.9, 0.9), 1e-8, 0.2, torch.float64)
    for _ in range(3):
        for p, matrix in zip(together, apart, strict=True):
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            for part, grad in zip(matrix, torch.split(p.grad, list(parts)), strict=True):
                part.grad = grad.clone()
        one.step()
        others.step()
    for p, matrix, start in zip(together, apart, stored, strict=True):
        # Sums in another order: a rounding of 1e-16 times the slope of the polynomial at 0, 485, three times.
        torch.testing.assert_close(p.detach(), torch.cat([*matrix]).detach(), rtol=0, atol=1e-12)
        assert not torch.equal(p, start)


def test_a_parameter_without_a_gradient_stays_where_it_is_and_has_no_state() -> None:
    parameters, start = random_parameters(0), random_parameters(0)
    optimizer = muon(parameters)
    for p in parameters[::2]:
        p.grad = torch.ones_like(p)
    optimizer.step()
    for i, (p, before) in enumerate(zip(parameters, start, strict=True)):
        assert torch.equal(p, before) == (i % 2 == 1)
        assert (p in optimizer.state) == (i % 2 == 0)


def test_a_saved_and_loaded_state_continues_bit_by_bit() -> None:
    parameters = random_parameters(0)
    optimizer = muon(parameters)
    random_steps([optimizer], parameters, seed=1)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed_parameters, forgetful_parameters = (
        [nn.Parameter(p.detach().clone()) for p in parameters] for _ in range(2)
    )
    resumed, forgetful = muon(resumed_parameters), muon(forgetful_parameters)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for one, its in ((optimizer, parameters), (resumed, resumed_parameters), (forgetful, forgetful_parameters)):
        random_steps([one], its, seed=2)
    for p, a, b in zip(parameters, resumed_parameters, forgetful_parameters, strict=True):
        assert torch.equal(p, a)
        assert not torch.equal(p, b)


def test_muon_keeps_one_moment_a_matrix_and_two_elsewhere() -> None:
    parameters = random_parameters(0)
    optimizer = muon(parameters)
    for p in parameters:
        p.grad = torch.ones_like(p)
    optimizer.step()
    names: list[Any] = [set(optimizer.state[p]) for p in parameters]
    assert names == [{"momentum"}] * len(MATRICES) + [{"step", "mean", "square"}] * len(VECTORS)


def test_muon_finds_the_nearest_matrix_to_a_target() -> None:
    target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))
    optimizer = Muon([{"params": [p], "orthogonal": True}], 0.1, 0.9, (0.9, 0.9), 1e-8, dtype=torch.float64)
    for step in range(300):
        p.grad = (p - target).detach()
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)  # its steps are of one size, however near the bottom
        optimizer.step()
    # From 4. The last steps are of 0.2 sqrt(4) 0.1 / 300 = 1e-4.
    assert float((p - target).detach().norm()) < 1e-2
