"""Tests of experiments/report/finding.py on comparisons made by hand."""

import re
from dataclasses import replace

from experiments.report.finding import finding
from tests.experiments.report.comparisons import ablations, sweep


def test_the_finding_follows_from_the_numbers() -> None:
    first, second, third, *_ = finding(ablations())
    assert first == "“longer” has the fewest bits per byte of 4 experiments: 0.8400."
    assert re.fullmatch(r"That is 0\.0320 less than the baseline \(standard error 0\.00\d\d\)\.", second)
    assert third == "It was picked as the best of several by this same result, so its true mean may be worse."
    assert finding(sweep())[1:3] == [
        "It is the baseline. The next one is “0.001” with 0.0114 more.",
        "Each experiment ran with one seed only, so it is not known how much of the difference is chance.",
    ]


def test_a_finding_without_a_baseline_or_where_all_runs_diverged() -> None:
    comparison = sweep()
    assert finding(replace(comparison, baseline=None))[:1] == [
        "“0.003” has the fewest bits per byte of 4 experiments: 0.8160."
    ]
    alone = replace(comparison, rows=comparison.rows[-1:])
    assert finding(alone) == ["Diverged: “1”."]


def test_differences_within_the_noise_are_called_that() -> None:
    comparison = ablations()
    noisy = replace(comparison.rows[2].differences["bits_per_byte"], standard_error=0.02)
    row = replace(comparison.rows[2], differences={"bits_per_byte": noisy})
    sentences = finding(replace(comparison, rows=(*comparison.rows[:2], row, *comparison.rows[3:])))
    assert (
        "The difference is less than two standard errors, so these seeds do not show which one is better." in sentences
    )
