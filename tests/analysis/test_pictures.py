"""Tests of lm/analysis/figure.py and pictures.py: what stands at the axes and at the ends of curves."""

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from lm.analysis import pictures
from lm.analysis.figure import log_ticks, name_ends, new_figure
from lm.formats.columns import Columns
from lm.system.files import md5


def curve(losses: list[float], every: int = 10) -> Columns:
    steps = every * np.arange(1, len(losses) + 1)
    loss, rate = np.array(losses), np.full(len(losses), 0.01)
    return {"step": steps, "tokens": 320 * steps, "loss": loss, "learning_rate": rate, "gradient_norm": loss}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of the pictures that a test draws."""
    kept: list[Axes] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: kept.extend(figure.axes))
    return kept


def boxes(axes: Axes) -> list[Any]:
    """Where the texts of a picture lie: numbers at the axes, and names of curves."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    labels = [
        label for axis in (axes.xaxis, axes.yaxis) for label in (*axis.get_ticklabels(), *axis.get_ticklabels(True))
    ]
    return [text.get_window_extent() for text in (*labels, *axes.texts) if text.get_text()]


def test_a_run_with_a_single_point_shows_it(drawn: list[Axes]) -> None:
    for losses in ([2.0], [2.0, 1.0]):
        pictures.plot_loss(curve(losses), curve([1.5]), None, Path())
        pictures.plot_learning_rate(curve(losses), Path())
        pictures.plot_gradient_norm(curve(losses), Path())
    assert [axes.lines[0].get_marker() for axes in drawn] == ["o"] * 3 + ["None"] * 3


@pytest.mark.parametrize(
    ("train", "valid", "floor"),
    [
        ([7.5, 3.0, 1.2, 0.66], [1.5, 0.66], 0.42),
        ([7.5, 0.66, 0.66, 0.66], [0.7, 0.66], 0.6599),  # all three end at the same height
        ([0.81, 0.79, 0.76], [0.74], None),
        ([4.0, 40.0, 4000.0], [3e5], 0.1),
        ([2.001, 2.0005, 2.0], [], None),
    ],
)
def test_numbers_and_names_of_the_loss_do_not_cover_each_other(
    drawn: list[Axes], train: list[float], valid: list[float], floor: float | None
) -> None:
    pictures.plot_loss(curve(train), curve(valid, 20), floor, Path())
    (axes,) = drawn
    found = boxes(axes)
    assert not any(one.overlaps(other) for i, one in enumerate(found) for other in found[:i])
    numbers = [label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels(which="both")]
    assert not any("10^" in number or "×" in number for number in numbers)
    assert min(len(axes.get_xticks()), len(axes.get_yticks())) >= 2
    bottom = axes.get_window_extent().y0
    assert all(text.get_window_extent().y0 > bottom for text in axes.texts)  # no name lies across the axis
    names = [text.get_text() for text in axes.texts]
    assert any(name.startswith("floor") for name in names) == (floor is not None)
    levels = [np.asarray(line.get_ydata()).tolist()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert levels == ([] if floor is None else [floor])


def test_the_loss_names_its_last_value_and_a_lower_one_before(drawn: list[Axes]) -> None:
    pictures.plot_loss(curve([7.0, 2.0, 1.0]), curve([2.0, 1.5, 1.75]), 0.5, Path())
    assert "validation 1.750 (lowest 1.500)" in [text.get_text() for text in drawn[0].texts]


def test_an_axis_says_when_it_is_logarithmic(drawn: list[Axes]) -> None:
    lengths = {"tokens": np.array([215.0, 260.0, 340.0]), "documents": np.array([1, 5, 2])}
    pictures.plot_document_lengths(lengths, Path())
    assert drawn[0].get_xscale() == "log"
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == (
        "tokens (logarithmic)",
        "documents of the validation text",
    )


def test_the_floor_is_the_entropy_per_token() -> None:
    assert pictures.nats_per_token([3.0, 5.0], 4) == pytest.approx(2 * math.log(2))
    assert pictures.nats_per_token(None, 4) is None


@pytest.mark.parametrize(
    ("low", "high"), [(0.6, 8), (31e3, 4.1e6), (215, 340), (0.74, 0.81), (1e-6, 0.2), (1, 5e7), (2, 2.001)]
)
def test_ticks_of_a_logarithmic_axis_are_few_and_apart(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert low <= min(ticks) < max(ticks) <= high
    assert min(math.log(b / a) for a, b in pairwise(ticks)) > 0.04 * math.log(high / low)


def test_steps_are_whole_numbers(drawn: list[Axes]) -> None:
    pictures.plot_learning_rate(curve([3.0, 2.0, 1.0], every=1), Path())
    ticks = [tick for tick in drawn[0].get_xticks() if 1 <= tick <= 3]
    assert ticks == [1, 2, 3]


def test_many_names_are_spread_over_the_height(drawn: list[Axes]) -> None:
    _, axes = new_figure("many", "x", "y")
    axes.set_ylim(0, 1)
    name_ends(axes, [(0.99, f"curve {i}", "black") for i in range(8)])
    found = boxes(axes)
    assert not any(one.overlaps(other) for i, one in enumerate(found) for other in found[:i])


_DRAW = """
import sys, pathlib, numpy as np
from lm.analysis import pictures
out = pathlib.Path(sys.argv[1])
steps = np.arange(1, 301)
table = {"step": steps, "tokens": 1000 * steps, "loss": 0.5 + 7 / steps**0.7, "rank": steps}
table |= {"gradient_norm": 1 + 1 / steps, "position": steps, "share": 0.1 / steps**1.1}
pictures.plot_loss(table, {name: column[::50] for name, column in table.items()}, 0.4, out / "loss.png")
pictures.plot_gradient_norm(table, out / "gradient_norm.png")
pictures.plot_loss_by_position(table, out / "loss_by_position.png")
pictures.plot_token_frequency(table, out / "token_frequency.png")
"""


def test_pictures_have_the_same_bytes_with_other_instructions_of_the_processor(tmp_path: Path) -> None:
    few = {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX2 FMA3"}
    hashes = []
    for name, extra in (("all", {}), ("few", few)):
        (tmp_path / name).mkdir()
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _DRAW, str(tmp_path / name)], env=os.environ | extra, check=True
        )
        hashes.append({path.name: md5(path) for path in (tmp_path / name).iterdir()})
    assert len(hashes[0]) == 4
    assert hashes[0] == hashes[1]
