"""Tests of experiments/compare/scaling_law.py."""

import itertools

import numpy as np
import pytest

from experiments.compare.scaling_law import FittedLaw, ScalingLaw, fit_scaling_law

CHINCHILLA = ScalingLaw(1.69, 406.4, 0.34, 410.7, 0.28)  # the paper's own fit
GRID = list(itertools.product([3e5, 1e6, 3e6, 1e7, 1e8], [1e6, 4e6, 2e7, 1e9]))
SIZES, TOKENS = [n for n, _ in GRID], [d for _, d in GRID]


def test_the_fit_finds_a_law_again_from_its_losses() -> None:
    law = fit_scaling_law(SIZES, TOKENS, [CHINCHILLA.loss(n, d) for n, d in GRID]).law
    for name in ("irreducible", "size_exponent", "token_exponent"):
        assert getattr(law, name) == pytest.approx(getattr(CHINCHILLA, name), rel=0.01)
    assert law.loss(1e9, 1e11) == pytest.approx(CHINCHILLA.loss(1e9, 1e11), rel=0.01)


def noisy(noise: float, key: int, grid: list[tuple[float, float]] = GRID) -> list[float]:
    errors = np.random.Generator(np.random.Philox(key=key)).normal(0, noise, len(grid))
    return [CHINCHILLA.loss(n, d) * (1 + float(error)) for (n, d), error in zip(grid, errors, strict=True)]


def test_noise_of_a_few_thousandths_hardly_changes_what_the_law_predicts() -> None:
    fitted = fit_scaling_law(SIZES, TOKENS, noisy(0.003, key=1))
    errors = [fitted.law.loss(n, d) / CHINCHILLA.loss(n, d) - 1 for n, d in GRID]
    assert max(map(abs, errors)) < 0.006  # two standard deviations of the noise
    assert fitted == fit_scaling_law(SIZES, TOKENS, noisy(0.003, key=1))


def test_the_intervals_hold_the_true_numbers_and_grow_with_the_noise() -> None:
    names = ("irreducible", "size_exponent", "token_exponent")
    n_within, widths = 0, []
    for key in range(5):
        fitted = fit_scaling_law(SIZES, TOKENS, noisy(0.003, key))
        intervals = [getattr(fitted, name) for name in names]
        widths.append(intervals[1][1] - intervals[1][0])
        n_within += sum(
            low <= getattr(CHINCHILLA, name) <= high for name, (low, high) in zip(names, intervals, strict=True)
        )
    assert n_within >= 12  # of 15; 95 % would be 14
    low, high = fit_scaling_law(SIZES, TOKENS, noisy(0.01, key=1)).size_exponent
    assert high - low > 2 * np.mean(widths)


def test_losses_that_do_not_determine_an_exponent_give_no_law() -> None:
    grid = list(itertools.product([1e6, 1.1e6, 1.2e6], [1e6, 4e6, 2e7, 1e9]))  # nearly the same size
    losses = noisy(0.01, 2, grid)
    says = (
        r"^scaling law: these losses do not determine how they fall with the number of parameters: an exponent may be "
        r"anything from 0\.\d\d to [12]\.\d\d$"
    )
    with pytest.raises(ValueError, match=says):
        fit_scaling_law([n for n, _ in grid], [d for _, d in grid], losses)


def test_no_number_of_a_law_is_negative() -> None:
    # These losses fall below every positive floor, so the best fit without bounds has a negative one.
    law = fit_scaling_law(SIZES, TOKENS, [max(1e-3, 1e5 / n**0.9 + 1e5 / d**0.9 - 0.001) for n, d in GRID]).law
    assert min(law.irreducible, law.size_factor, law.token_factor) >= 0


def test_too_few_sizes_or_budgets_are_named() -> None:
    with pytest.raises(ValueError, match=r"^scaling law: needs at least three sizes, got 2$"):
        fit_scaling_law([1, 2, 1, 2], [1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"^scaling law: needs at least three token budgets, got 1$"):
        fit_scaling_law([1, 2, 3], [1, 1, 1], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^scaling law: needs at least nine pairs of size and budget, got 3$"):
        fit_scaling_law([1, 2, 3], [1, 2, 3], [3, 2, 1])


def test_it_is_written_as_a_formula_with_its_intervals() -> None:
    assert str(FittedLaw(CHINCHILLA, (1.6, 1.71), (0.3, 0.4), (0.2, 0.3))) == (
        "1.69 + 406 / N^0.34 + 411 / D^0.28 for N parameters and D tokens (95 % intervals: 1.6 to 1.71 for the "
        "irreducible loss, 0.30 to 0.40 for the exponent of N, 0.20 to 0.30 for that of D)"
    )
