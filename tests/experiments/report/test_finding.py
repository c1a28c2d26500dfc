"""Tests of experiments/report/finding.py on comparisons made by hand."""

from dataclasses import replace

from experiments.report.finding import finding
from tests.experiments.report.comparisons import ablations, sweep


def test_the_finding_follows_from_the_numbers() -> None:
    first, second, third, *_ = finding(ablations())
    assert first == "“longer” has the fewest bits per byte of 4 experiments: 0.8400."
    assert second == "That is 0.0320 less than the baseline (p = 0.1567)."  # paired t-test, times 2 of 3 comparisons
    assert third == "Luck alone may explain the difference, so these seeds do not show which one is better."
    assert finding(sweep())[1:3] == [
        "It is the baseline. The next one is “learning_rate=0.001” with 0.0114 more.",
        "With so few seeds, nothing can be said about how much of the difference is luck.",
    ]


def test_a_finding_without_a_baseline_or_where_all_runs_diverged() -> None:
    comparison = sweep()
    assert finding(replace(comparison, baseline=None))[:1] == [
        "“learning_rate=0.003” has the fewest bits per byte of 4 experiments: 0.8160."
    ]
    alone = replace(comparison, rows=comparison.rows[-1:])
    assert finding(alone) == ["Diverged: “learning_rate=1.0”."]


def test_a_certain_difference_of_the_best_of_several_is_called_one_that_was_picked() -> None:
    comparison = ablations()
    certain = replace(comparison.rows[2].differences["bits_per_byte"], p=0.00003)
    row = replace(comparison.rows[2], differences={"bits_per_byte": certain})
    sentences = finding(replace(comparison, rows=(*comparison.rows[:2], row, *comparison.rows[3:])))
    assert sentences[1:3] == [
        "That is 0.0320 less than the baseline (p < 0.0001).",
        "It was picked as the best of several by this same result, so its true mean may be worse.",
    ]
