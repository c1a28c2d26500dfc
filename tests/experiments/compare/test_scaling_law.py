"""Tests of experiments/compare/scaling_law.py."""

import itertools

import numpy as np
import pytest

from experiments.compare.scaling_law import ScalingLaw, fit_scaling_law

CHINCHILLA = ScalingLaw(1.69, 406.4, 0.34, 410.7, 0.28)  # the paper's own fit
GRID = list(itertools.product([3e5, 1e6, 3e6, 1e7, 1e8], [1e6, 4e6, 2e7, 1e9]))
SIZES, TOKENS = [n for n, _ in GRID], [d for _, d in GRID]


def test_the_fit_finds_a_law_again_from_its_losses() -> None:
    law = fit_scaling_law(SIZES, TOKENS, [CHINCHILLA.loss(n, d) for n, d in GRID])
    for name in ("irreducible", "size_exponent", "token_exponent"):
        assert getattr(law, name) == pytest.approx(getattr(CHINCHILLA, name), rel=0.01)
    assert law.loss(1e9, 1e11) == pytest.approx(CHINCHILLA.loss(1e9, 1e11), rel=0.01)


def test_noise_of_a_few_thousandths_hardly_changes_what_the_law_predicts() -> None:
    noise = np.random.Generator(np.random.Philox(key=1)).normal(0, 0.003, len(GRID))
    law = fit_scaling_law(
        SIZES, TOKENS, [CHINCHILLA.loss(n, d) * (1 + float(e)) for (n, d), e in zip(GRID, noise, strict=True)]
    )
    errors = [law.loss(n, d) / CHINCHILLA.loss(n, d) - 1 for n, d in GRID]
    assert max(map(abs, errors)) < 0.006  # two standard deviations of the noise


def test_no_number_of_a_law_is_negative() -> None:
    # These losses fall below every positive floor, so the best fit without bounds has a negative one.
    law = fit_scaling_law(SIZES, TOKENS, [max(1e-3, 1e5 / n**0.9 + 1e5 / d**0.9 - 0.001) for n, d in GRID])
    assert min(law.irreducible, law.size_factor, law.token_factor) >= 0


def test_too_few_sizes_or_budgets_are_named() -> None:
    with pytest.raises(ValueError, match=r"^scaling law: needs at least three sizes, got 2$"):
        fit_scaling_law([1, 2, 1, 2], [1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"^scaling law: needs at least three token budgets, got 1$"):
        fit_scaling_law([1, 2, 3], [1, 1, 1], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^scaling law: needs at least six pairs of size and budget, got 3$"):
        fit_scaling_law([1, 2, 3], [1, 2, 3], [3, 2, 1])


def test_it_is_written_as_a_formula() -> None:
    assert str(CHINCHILLA) == "1.69 + 406 / N^0.34 + 411 / D^0.28"
