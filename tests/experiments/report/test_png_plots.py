"""Tests of experiments/report/png_plots.py: what a picture of a comparison says, and that nothing covers anything."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.compare.comparison import Comparison
from experiments.report import png_plots
from experiments.report.png_plots import draw_plots
from lm.analysis.figure import save_figure
from lm.system.files import md5
from tests.experiments.report.comparisons import ablations, scaling, sweep


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Figure]]:
    """The pictures that a test draws, by the name of their file, kept open."""
    kept: dict[str, Figure] = {}
    monkeypatch.setattr(png_plots, "save_figure", lambda figure, path: kept.update({path.stem: figure}))
    yield kept
    plt.close("all")


def validated(comparison: Comparison) -> Comparison:
    """The same comparison with the training curves as validation curves too."""
    rows = [
        replace(row, runs=tuple(replace(run, curves=replace(run.curves, valid=run.curves.train)) for run in row.runs))
        for row in comparison.rows
    ]
    return replace(comparison, rows=tuple(rows))


def names(figure: Figure) -> list[str]:
    """The names at the ends of curves and above small pictures."""
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title, axes.title)]
    return [text.get_text() for text in texts] + [axes.get_title(loc="left") for axes in figure.axes]


def covered(figure: Figure) -> bool:
    """Whether a number at an axis or a name covers another one."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts] if axes.get_visible() else []
        boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
        if any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i]):
            return True
    return False


def test_curves_have_the_names_of_experiments_at_their_ends(drawn: dict[str, Figure]) -> None:
    draw_plots(ablations(), "bits_per_byte", Path())
    assert set(drawn) == {"abl-loss-by-step", "abl-loss-by-tokens", "abl-loss-by-elapsed"}
    assert {"baseline", "no-norm (diverged)", "longer", "sgd (diverged)"} <= set(names(drawn["abl-loss-by-step"]))
    assert not any(covered(figure) for figure in drawn.values())


def test_experiments_of_a_sweep_are_named_by_parameter_and_value(drawn: dict[str, Figure]) -> None:
    draw_plots(validated(sweep()), "bits_per_byte", Path())
    assert {"learning_rate=0.0003", "learning_rate=1.0 (diverged)"} <= set(names(drawn["lr-loss-by-step"]))
    assert not any(covered(figure) for figure in drawn.values())
    (axes,) = drawn["lr-final"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0003", "0.001", "0.003", "0.01", "1"]
    assert axes.get_ylim()[1] < 1  # the diverged run with 3.13 is drawn at the edge


def test_seconds_are_seconds(drawn: dict[str, Figure]) -> None:
    comparison = validated(sweep())
    for row in comparison.rows:
        assert row.runs[0].curves.valid is not None
        row.runs[0].curves.valid["elapsed_s"] /= 100  # the whole run takes less than a second
    draw_plots(comparison, "bits_per_byte", Path())
    (axes,) = drawn["lr-loss-by-elapsed"].axes
    assert [label.get_text() for label in axes.get_xticklabels()][1:4] == ["0", "0.2", "0.4"]


def test_more_than_eight_experiments_get_a_small_picture_each(drawn: dict[str, Figure]) -> None:
    draw_plots(validated(scaling()), "bits_per_byte", Path())
    panels = [axes for axes in drawn["scaling-loss-by-step"].axes if axes.get_visible()]
    assert len(panels) == 8  # nine experiments without the baseline
    assert panels[0].get_title(loc="left") == "d_model=32, tokens=512000"
    assert all(len(axes.lines) == 2 for axes in panels)  # the experiment and the baseline
    assert {"tokens=256,000", "tokens=512,000", "tokens=1,024,000"} <= set(names(drawn["scaling-final"]))
    assert not any(covered(figure) for figure in drawn.values())


def test_losses_that_are_no_numbers_are_left_out(drawn: dict[str, Figure]) -> None:
    comparison = validated(sweep())
    valid = comparison.rows[0].runs[0].curves.valid
    assert valid is not None
    valid.loc[3:, "loss"] = np.nan
    comparison.rows[0].runs[0].result.metrics["bits_per_byte"] = None
    run = comparison.rows[1].runs[0]
    empty = replace(run, curves=replace(run.curves, valid=pd.read_csv(io.StringIO("step,tokens,loss\n"))))
    rows = (comparison.rows[0], replace(comparison.rows[1], runs=(empty,)), *comparison.rows[2:])
    comparison = replace(comparison, rows=rows)
    draw_plots(comparison, "bits_per_byte", Path())
    assert not any(covered(figure) for figure in drawn.values())


def test_a_picture_drawn_twice_has_the_same_bytes(tmp_path: Path) -> None:
    hashes = []
    for name in "ab":
        figure = png_plots._draw_final(sweep(by="train.batch_size"), "bits_per_byte")
        save_figure(figure, tmp_path / name)
        hashes.append(md5(tmp_path / name))
    assert hashes[0] == hashes[1]
