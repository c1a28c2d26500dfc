"""How the loss falls with the size of a model and the tokens it is trained on, and how certain that law is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LOWEST, _HIGHEST = 0.01, 2.0  # exponents that are tried
_N_LAWS = 200  # of a bootstrap
_NUMBERS = 5  # of a law
# An exponent is not determined if its interval reaches so near to a bound of the exponents that are tried.
_EDGE = 1.1


@dataclass(frozen=True)
class ScalingLaw:
    """loss(N, D) = E + A / N^alpha + B / D^beta for N parameters and D tokens.

    Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models" (https://arxiv.org/abs/2203.15556), eq. 2.
    """

    irreducible: float  # E, in the unit of the losses
    size_factor: float  # A
    size_exponent: float  # alpha
    token_factor: float  # B
    token_exponent: float  # beta

    def loss(self, n_parameters: float, n_tokens: float) -> float:
        """The loss that the law predicts."""
        of_size = self.size_factor * n_parameters**-self.size_exponent
        return float(self.irreducible + of_size + self.token_factor * n_tokens**-self.token_exponent)

    def __str__(self) -> str:
        return (
            f"{self.irreducible:.3g} + {self.size_factor:.3g} / N^{self.size_exponent:.2f} "
            f"+ {self.token_factor:.3g} / D^{self.token_exponent:.2f}"
        )


@dataclass(frozen=True)
class FittedLaw:
    """The law that fits best, and the 95 % intervals of its irreducible loss and its exponents.

    In simulations of 9 and 16 results, the intervals held the true numbers in 9 cases of 10.
    """

    law: ScalingLaw
    irreducible: tuple[float, float]
    size_exponent: tuple[float, float]
    token_exponent: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.law} for N parameters and D tokens (95 % intervals: {_interval(self.irreducible, '.3g')} for the "
            f"irreducible loss, {_interval(self.size_exponent, '.2f')} for the exponent of N, "
            f"{_interval(self.token_exponent, '.2f')} for that of D)"
        )


def fit_scaling_law(n_parameters: Sequence[float], n_tokens: Sequence[float], losses: Sequence[float]) -> FittedLaw:
    """The law with the smallest sum of squared relative errors; none of its numbers is negative.

    For given exponents the law is linear in E, A and B. So only the exponents are searched: on a grid, then on finer
    grids, each around the best point of the grid before it. The intervals come from a bootstrap: the errors of the fit
    are drawn anew, with a fixed seed, added to the losses of the law, and the law is fitted again, 200 times.

    Raises:
        ValueError: for fewer than three sizes, three token budgets or nine pairs of them, and where the losses do not
            determine an exponent: its interval reaches the end of the exponents tried, from 0.01 to 2.
    """
    _check_enough(n_parameters, n_tokens)
    n, d, measured = (np.asarray(values, dtype=np.float64) for values in (n_parameters, n_tokens, losses))
    law = _best_law(n, d, measured)

    predicted = np.array([law.loss(*pair) for pair in zip(n, d, strict=True)])
    errors = measured / predicted - 1
    # The fit has taken up five numbers' worth of noise, so what remains is smaller than the noise. That the noise is
    # known only from few errors makes the intervals of Student's t wider than those of a normal distribution: each draw
    # has a scale of its own, from the chi-squared distribution of the errors' sum of squares.
    degrees = len(errors) - _NUMBERS
    random = np.random.Generator(np.random.Philox(key=len(errors)))
    drawn = random.choice(errors - errors.mean(), (_N_LAWS, len(errors)))
    drawn *= math.sqrt(len(errors) / degrees) * np.sqrt(degrees / random.chisquare(degrees, (_N_LAWS, 1)))
    tried_alphas = tried_betas = np.geomspace(_LOWEST, _HIGHEST, 30)
    for _ in range(2):  # the second grid covers only what the first one found
        alphas, betas, factors = _best_fits(tried_alphas, tried_betas, n, d, measured, predicted * (1 + drawn))
        tried_alphas, tried_betas = _around(alphas), _around(betas)
    intervals = [_quantiles(values) for values in (factors[:, 0], alphas, betas)]
    for name, low, high in (("parameters", *intervals[1]), ("tokens", *intervals[2])):
        if low <= _LOWEST * _EDGE or high >= _HIGHEST / _EDGE:
            raise ValueError(
                f"scaling law: these losses do not determine how they fall with the number of {name}: an exponent may "
                f"be anything from {low:.2f} to {high:.2f}"
            )
    return FittedLaw(law, *intervals)


def _check_enough(n_parameters: Sequence[float], n_tokens: Sequence[float]) -> None:
    pairs = set(zip(n_parameters, n_tokens, strict=True))
    for name, values in (("sizes", n_parameters), ("token budgets", n_tokens)):
        if len(set(values)) < 3:
            raise ValueError(f"scaling law: needs at least three {name}, got {len(set(values))}")
    if len(pairs) < 9:
        raise ValueError(f"scaling law: needs at least nine pairs of size and budget, got {len(pairs)}")


def _best_law(n: Floats, d: Floats, losses: Floats) -> ScalingLaw:
    centre, width = (1.0, 1.0), 1.0
    while width > 1e-4:
        alphas, betas = (np.clip(np.linspace(c - width, c + width, 21), _LOWEST, _HIGHEST) for c in centre)
        found = _best_fits(alphas, betas, n, d, losses, losses[None])
        (alpha,), (beta,), ((e, a, b),) = (values.tolist() for values in found)
        centre, width = (alpha, beta), width / 4
    return ScalingLaw(e, a, alpha, b, beta)


def _best_fits(
    alphas: Floats, betas: Floats, n: Floats, d: Floats, scale: Floats, losses: Floats
) -> tuple[Floats, Floats, Floats]:
    """The best exponents and factors, (fits), (fits) and (fits, 3), for each row of losses, (fits, points).

    Errors are relative to `scale`. Negative factors are excluded: of all choices of factors that are zero, the best one
    whose other factors are positive is taken.
    """
    targets = (losses / scale).T  # (points, fits)
    alpha, beta = (grid.ravel() for grid in np.meshgrid(alphas, betas, indexing="ij"))
    columns = [np.ones((len(alpha), len(n))), n ** -alpha[:, None], d ** -beta[:, None]]
    terms = np.stack(columns, axis=2) / scale[:, None]  # (grid, points, 3)
    every = np.arange(targets.shape[1])
    best, place, factors = np.full(len(every), np.inf), np.zeros(len(every), dtype=int), np.zeros((len(every), 3))
    for used in chain.from_iterable(combinations(range(3), k) for k in (1, 2, 3)):
        q, r = np.linalg.qr(terms[:, :, used])
        projected = q.transpose(0, 2, 1) @ targets  # (grid, used, fits)
        solved = np.linalg.solve(r, projected)
        squares = (targets**2).sum(axis=0) - (projected**2).sum(axis=1)  # Pythagoras: what the fit does not reach
        squares[(solved < 0).any(axis=1)] = np.inf
        choice = squares.argmin(axis=0)
        better = np.flatnonzero(squares[choice, every] < best)
        best[better], place[better] = squares[choice, every][better], choice[better]
        factors[better] = 0
        for i, column in enumerate(used):
            factors[better, column] = solved[choice[better], i, better]
    return alpha[place], beta[place], factors


def _around(exponents: Floats) -> Floats:
    """A finer grid of exponents that reaches a little beyond these."""
    return np.geomspace(max(exponents.min() / 1.1, _LOWEST), min(exponents.max() * 1.1, _HIGHEST), 40)


def _quantiles(values: Floats) -> tuple[float, float]:
    """The interval that holds the middle 95 % of the values."""
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high


def _interval(interval: tuple[float, float], form: str) -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}"
