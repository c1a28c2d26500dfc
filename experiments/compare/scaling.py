"""The scaling law of a set of model sizes and token budgets."""

from experiments.compare.comparison import HIGHER_IS_BETTER, Comparison
from experiments.compare.scaling_law import ScalingLaw, fit_scaling_law


def law_of(comparison: Comparison, metric: str) -> ScalingLaw | None:
    """The law of a set that is drawn against n_parameters by train.tokens; None for others, and for too few runs."""
    one = comparison.one
    if (one.against, one.by) != ("n_parameters", "train.tokens") or metric in HIGHER_IS_BETTER:
        return None
    measured = [each.result.metrics for row in comparison.rows for each in row.finished if not each.diverged]
    sizes, tokens = [m["n_parameters"] for m in measured], [m["tokens"] for m in measured]
    if min(len(set(sizes)), len(set(tokens))) < 3 or len(set(zip(sizes, tokens, strict=True))) < 6:
        return None
    return fit_scaling_law(sizes, tokens, [m[metric] for m in measured])
