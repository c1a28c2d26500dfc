"""What the numbers of a comparison say, in sentences."""

from collections.abc import Sequence

from experiments.compare.comparison import Comparison
from experiments.compare.table import p_text
from experiments.define.metrics import HIGHER_IS_BETTER, METRICS


def finding(comparison: Comparison) -> list[str]:
    """The best experiment, its distance to the baseline, how certain that distance is, and which runs diverged."""
    metric = comparison.experiment_set.metric
    means = {row.experiment: row.summaries[metric].mean for row in comparison.rows if metric in row.summaries}
    ranking = sorted(means, key=means.__getitem__, reverse=metric in HIGHER_IS_BETTER)
    label = {row.experiment: row.label for row in comparison.rows}
    sentences = []
    if ranking:
        of = f" of {len(ranking)} experiments" if len(ranking) > 1 else ""
        most = "highest" if metric in HIGHER_IS_BETTER else "fewest"
        sentences.append(f"“{label[ranking[0]]}” has the {most} {METRICS[metric]}{of}: {means[ranking[0]]:.4f}.")
    if comparison.baseline in ranking and len(ranking) > 1:
        sentences += _distance(comparison, ranking)
    if diverged := [row for row in comparison.rows if row.n_diverged]:
        counts = [f" ({row.n_diverged} of {len(row.runs)} runs)" * (len(row.runs) > 1) for row in diverged]
        names = [f"“{row.label}”{count}" for row, count in zip(diverged, counts, strict=True)]
        sentences.append(f"Diverged: {', '.join(names)}.")
    return sentences


def _distance(comparison: Comparison, ranking: Sequence[str]) -> list[str]:
    """The distance of the best experiment to the baseline; if the baseline is the best, to the second best."""
    rows = {row.experiment: row for row in comparison.rows}
    reference = rows[comparison.baseline or ""].label
    baseline_is_best = ranking[0] == comparison.baseline
    baseline = "the baseline" if reference == "baseline" else f"the baseline, “{reference}”"
    other = rows[ranking[1] if baseline_is_best else ranking[0]]
    metric = comparison.experiment_set.metric
    gap = other.differences[metric]
    more, less = ("less", "more") if metric in HIGHER_IS_BETTER else ("more", "less")
    certainty = "" if gap.p is None else f" (p = {p_text(gap.p)})".replace("= <", "< ")
    sentences = [
        f"It is the baseline. The next one is “{other.label}” with {abs(gap.value):.4f} {more}{certainty}."
        if baseline_is_best
        else f"That is {abs(gap.value):.4f} {less} than {baseline}{certainty}."
    ]
    if gap.p is None:
        sentences.append("With so few seeds, nothing can be said about how much of the difference is luck.")
    elif gap.p >= 0.05:
        sentences.append("Luck alone may explain the difference, so these seeds do not show which one is better.")
    elif not baseline_is_best and len(ranking) > 2:
        sentences.append("It was picked as the best of several by this same result, so its true mean may be worse.")
    return sentences
