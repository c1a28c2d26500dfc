"""Tests of lm/formats/columns.py."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from lm.formats.columns import read_columns, write_columns

NUMBERS = np.array([0.1 + 0.2, 1e-5, 1e22, -0.0, np.nan, np.inf, 5e-324])


@pytest.mark.parametrize("floats", [NUMBERS, NUMBERS[:0]])
def test_columns_come_back_from_a_file_with_the_same_bits(tmp_path: Path, floats: NDArray[np.float64]) -> None:
    columns = {"rank": np.arange(len(floats)), "share, of all": floats}
    write_columns(tmp_path / "table.csv", columns)
    read = read_columns(tmp_path / "table.csv")
    assert list(read) == list(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(read[name], column)
        assert not len(column) or read[name].dtype == column.dtype
    assert np.signbit(read["share, of all"]).tolist() == np.signbit(floats).tolist()


def test_the_file_is_the_one_that_pandas_writes(tmp_path: Path) -> None:
    columns = {"group": np.array(["a", 'b, "c"', "", "d", "e", "f", "g"]), "n": np.arange(7), "loss": NUMBERS}
    write_columns(tmp_path / "table.csv", columns)
    expected = StringIO()
    pd.DataFrame(columns).to_csv(expected, index=False, lineterminator="\n")
    assert (tmp_path / "table.csv").read_text() == expected.getvalue()
