"""Tests of experiments/report/finding.py on comparisons made by hand."""

from dataclasses import replace

from experiments.compare.table import table
from experiments.report.finding import finding
from tests.experiments.report.comparisons import ablations, sweep
from tests.experiments.results_by_hand import made_comparison, made_finished, made_run, made_set


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


def test_of_right_answers_the_highest_share_is_the_best() -> None:
    runs = (made_run("baseline"), made_run("taught"))
    of_chat = replace(made_set(*runs), metric="chat.right_answers")
    shares = {"baseline": 0.5, "taught": 0.75}
    finished = [made_finished(run, 1.0, [2.0, 1.0], **{"chat.right_answers": shares[run.experiment]}) for run in runs]
    comparison = made_comparison(of_chat, finished)
    assert finding(comparison)[:2] == [
        "“taught” has the highest share of right answers of 2 experiments: 0.7500.",
        "That is 0.2500 more than the baseline.",
    ]
    header, rows = table(comparison, of_chat.metric)
    assert [row[header.index("chat.right answers")] for row in rows] == ["0.5000", "0.7500 *"]
