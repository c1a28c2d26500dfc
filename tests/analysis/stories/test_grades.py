"""Tests of lm/analysis/stories/grades.py: what is read in an answer and what is not, means, errors and differences."""

import numpy as np
import pytest

from lm.analysis.stories.grades import QUALITIES, grade_differences, mean_grades, questions, read_grades

REST = "\nCreativity: 6\nConsistency: 7\nPlot: 5"


@pytest.mark.parametrize(
    ("line", "grade"),
    [
        ("Grammar: 8/10", 8),
        ("**Grammar:** 8.5 / 10 (a few errors)", 8.5),
        ("- *Grammar*: 10", 10),
        ("grammar = 0 out of 10.", 0),
        ('"grammar": 7,', 7),
        ("| Grammar | 7/10 |", 7),
        ("Grammar:\n8/10", 8),
        ("Grammar: 8/10. As I said, grammar: 8/10.", 8),
        ("<think>Grammar: 2/10?</think>Grammar: 8/10", 8),
        ("Grammar: 7-8/10", None),
        ("Grammar: 7 to 8", None),
        ("Grammar: 8/10 or 9/10", None),
        ("Grammar: 8/5", None),
        ("Grammar: 80/100", None),
        ("Grammar: 8/100", None),
        ("Grammar: 11/10", None),
        ("Grammar: -8/10", None),
        ("Grammar: 8,5/10", None),
        ("Grammar: 8½/10", None),
        ("Grammar: 8+", None),
        ("Grammar: good, 8/10", None),
        ("Grammar: 8/10, then grammar: 9/10", None),
        ("Grammar: 8/10. Grammar: N/10", None),
        ("Grammar, creativity: 8/10", None),
        ("Programmar: 8/10", None),
        ("", None),
    ],
)
def test_a_grade_is_read_only_where_it_is_certain(line: str, grade: float | None) -> None:
    expected = None if grade is None else {"grammar": grade, "creativity": 6, "consistency": 7, "plot": 5}
    assert read_grades(line + REST) == expected


def test_all_qualities_must_be_there() -> None:
    assert read_grades("Grammar: 8\nCreativity: 6\nConsistency with the beginning: 7\nPlot: 5") is not None
    assert read_grades("Grammar: 8\nCreativity: 6\nPlot: 5") is None
    assert read_grades(questions("Once", " more")[1]) is None  # the form of the answer is no answer


def test_the_questions_hold_the_story() -> None:
    first, second = questions("Once {upon", " a} time")
    assert "\n\nOnce {upon*** a} time\n\n" in first
    assert all(f"{name.capitalize()}: N/10" in second for name in QUALITIES)
    whole, grades = questions(" ", "A cat.")
    assert "\n\nA cat.\n\n" in whole
    assert "beginning" not in whole + grades


def grades_of(rows: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip(QUALITIES, row, strict=True)) for row in rows.tolist()]


def test_the_error_counts_beginnings_and_not_texts() -> None:
    rows = np.random.default_rng(0).normal(5, 2, (9, len(QUALITIES)))
    single = mean_grades(grades_of(rows), [str(i) for i in range(9)])
    error = rows.std(0, ddof=1) / 3
    assert [single[f"{name}_standard_error"] for name in QUALITIES] == pytest.approx(error.tolist())
    # Four times the same text of each beginning is no more than one.
    copied = mean_grades(grades_of(np.repeat(rows, 4, 0)), [str(i // 4) for i in range(36)])
    assert copied == pytest.approx(single)
    # All of one beginning: each text is a draw.
    assert mean_grades(grades_of(rows), [""] * 9) == pytest.approx(single)
    assert mean_grades(grades_of(rows[:1]), ["a"])["plot_standard_error"] is None
    assert mean_grades([], [])["plot"] is None


def test_a_difference_is_taken_at_each_beginning_that_both_have() -> None:
    rows = np.random.default_rng(0).normal(5, 2, (4, len(QUALITIES)))
    own, other = grades_of(rows + 1), grades_of(rows)
    found = grade_differences(own, ["a", "b", "c", "x"], other, ["b", "a", "c", "y"])
    expected = np.stack([rows[0] + 1 - rows[1], rows[1] + 1 - rows[0], rows[2] + 1 - rows[2]])
    assert found == pytest.approx(mean_grades(grades_of(expected), ["a", "b", "c"]))
    same = grade_differences(own, ["a", "b", "c", "d"], other, ["a", "b", "c", "d"])
    assert same is not None
    assert same["plot"] == pytest.approx(1)
    assert same["plot_standard_error"] == pytest.approx(0, abs=1e-12)
    assert grade_differences(own[:1], ["a"], other, ["a", "b", "c", "d"]) is None
