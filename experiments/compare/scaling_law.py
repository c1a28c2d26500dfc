"""How the loss falls with the size of a model and the tokens it is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]


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


def fit_scaling_law(n_parameters: Sequence[float], n_tokens: Sequence[float], losses: Sequence[float]) -> ScalingLaw:
    """The law with the smallest sum of squared relative errors; none of its numbers is negative.

    For given exponents the law is linear in E, A and B. So only the exponents are searched: on a grid, then on finer
    grids, each around the best point of the grid before it.

    Raises:
        ValueError: for fewer than three sizes, three token budgets or six pairs of them, because fewer points do not
            determine five numbers.
    """
    pairs = list(zip(n_parameters, n_tokens, strict=True))
    for name, values in (("sizes", n_parameters), ("token budgets", n_tokens)):
        if len(set(values)) < 3:
            raise ValueError(f"scaling law: needs at least three {name}, got {len(set(values))}")
    if len(set(pairs)) < 6:
        raise ValueError(f"scaling law: needs at least six pairs of size and budget, got {len(set(pairs))}")
    points = [np.asarray(values, dtype=np.float64) for values in (n_parameters, n_tokens, losses)]
    centre, width = (1.0, 1.0), 1.0  # exponents from 0 to 2
    while width > 1e-4:
        alphas, betas = (np.clip(np.linspace(c - width, c + width, 21), 0.01, 2.0) for c in centre)
        fits = [_fit_factors(alpha, beta, *points) for alpha in alphas for beta in betas]
        _, law = min(fits, key=lambda fit: fit[0])
        centre, width = (law.size_exponent, law.token_exponent), width / 4
    return law


def _fit_factors(alpha: float, beta: float, n: Column, d: Column, losses: Column) -> tuple[float, ScalingLaw]:
    """The sum of squared relative errors, and the law with the best factors for these exponents."""
    terms = np.stack([np.ones_like(n), n**-alpha, d**-beta], axis=1) / losses[:, None]
    free = [0, 1, 2]
    while True:
        factors = np.zeros(3)
        factors[free] = np.linalg.lstsq(terms[:, free], np.ones_like(losses), rcond=None)[0]
        if min(factors) >= 0:
            break
        free = [i for i in free if factors[i] > 0]  # set negative factors to 0, and fit the others again
    e, a, b = factors.tolist()
    return float(((terms @ factors - 1) ** 2).sum()), ScalingLaw(e, a, float(alpha), b, float(beta))
