"""Tests of lm/training/curves.py."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.training.curves import StepRow, ValidRow, from_columns, read_rows, thinned, to_columns, write_rows

numbers = st.floats()


def made_steps(losses: list[float]) -> list[StepRow]:
    """Steps with these losses; NaN is one that was left out."""
    return [
        StepRow(i + 1, 32 * (i + 1), loss, loss / 8, 0.1 * i, math.nan if math.isnan(loss) else float(i + 1))
        for i, loss in enumerate(losses)
    ]


@given(st.lists(st.builds(StepRow, st.integers(0, 2**40), st.integers(0, 2**50), numbers, numbers, numbers, numbers)))
def test_rows_come_back_from_columns_and_from_a_file(rows: list[StepRow]) -> None:
    # Compared as text, because NaN is not equal to itself.
    assert repr(from_columns(StepRow, to_columns(StepRow, rows))) == repr(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "steps.csv")
        write_rows(path, StepRow, rows)
        assert repr(read_rows(path, StepRow)) == repr(rows)


def test_no_rows_are_a_header_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "valid.csv", ValidRow, [])
    assert (tmp_path / "valid.csv").read_text() == "step,tokens,loss,accuracy\n"
    assert read_rows(tmp_path / "valid.csv", ValidRow) == []
    assert thinned([], 3) == []


def test_a_row_of_the_curve_is_the_mean_of_its_steps_and_the_last_one_may_have_fewer() -> None:
    losses = [3.1, 2.9, 2.7, 2.5, 2.6, 2.2, 2.1, 2.0]
    curve = thinned(made_steps(losses), 3)
    assert [(row.step, row.tokens, row.gradient_norm) for row in curve] == [(3, 96, 3.0), (6, 192, 6.0), (8, 256, 8.0)]
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    assert [row.loss for row in curve] == pytest.approx(expected, rel=1e-14)  # means of two or three float64 numbers
    assert [row.accuracy for row in curve] == pytest.approx([value / 8 for value in expected], rel=1e-14)
    assert [row.learning_rate for row in curve] == [0.1 * i for i in (2, 5, 7)]


def test_every_step_may_have_its_row() -> None:
    steps = made_steps([0.1 + 0.2, 1 / 3, 2.0**-40, 1e300])
    assert thinned(steps, 1) == steps


def test_steps_that_were_left_out_count_for_the_learning_rate_alone() -> None:
    nan = math.nan
    curve = thinned(made_steps([1.0, nan, nan, 2.0, 3.0, nan, nan, nan, nan, nan, nan, nan, 5.0, nan]), 4)
    assert [row.step for row in curve] == [4, 8, 14]  # none for the four steps that were all left out
    assert [row.loss for row in curve] == [1.5, 3.0, 5.0]
    assert [row.gradient_norm for row in curve] == [4.0, 5.0, 13.0]
    assert [row.learning_rate for row in curve] == [0.1 * i for i in (3, 7, 13)]
