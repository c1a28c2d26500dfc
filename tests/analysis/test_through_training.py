"""What is learned when: stands of models, the views of them, and the step at which half is learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.analysis.inside.reading import batch_of
from lm.analysis.inside.repeats import HeadScores, Repeats
from lm.analysis.through_training import Stand, half_way, plot_learning, stand, token_losses, training_views
from lm.analysis.token_kinds import END, FIRST, INSIDE, KINDS
from lm.analysis.views import Curves, Table
from lm.model.transformer import Transformer
from tests.small import model_config

VOCAB = 20


def test_losses_by_kind_are_the_means_of_the_losses_of_their_tokens() -> None:
    model = Transformer(model_config(), VOCAB).eval()
    texts = batch_of([np.array([3, 4, 5, 0]), np.array([7, 0])], 0, 8)
    losses = token_losses(model, texts)
    with torch.no_grad():
        logits = model(torch.from_numpy(texts.inputs))
    expected = torch.nn.functional.cross_entropy(logits.mT, torch.from_numpy(texts.targets), reduction="none").numpy()
    counted = texts.weights > 0
    np.testing.assert_allclose(losses[counted], expected[counted], rtol=1e-5)  # float32
    assert np.isnan(losses[~counted]).all()
    found = stand(model, 7, texts, [[FIRST, INSIDE, None, END], [FIRST, END, END, END]], None)
    assert found.step == 7
    assert found.losses[KINDS.index(FIRST)] == pytest.approx((losses[0, 0] + losses[1, 0]) / 2)
    assert found.losses[KINDS.index(END)] == pytest.approx((losses[0, 3] + losses[1, 1]) / 2)
    assert np.isnan(found.losses[KINDS.index("punctuation")])  # there is none


def test_heads_are_measured_where_something_fits_twice() -> None:
    model = Transformer(model_config(), VOCAB).eval()
    texts = batch_of([np.array([3, 0])], 0, 8)
    repeats = Repeats(torch.tensor([[0, 5, 6, 5, 6]]), 2)
    found = stand(model, 7, texts, [[FIRST, END]], repeats)
    assert found.heads is not None
    assert found.heads.induction.shape == (model.config.n_layers, model.config.n_heads)
    assert found.first is not None
    assert found.first > 0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([6, 4, 2], 10), ([6, 3, 2], 10 ** (2 / 3)), ([6, 7, 2], 10 ** (1 + 3 / 5)), ([2, 2, 2], None), ([2, 1, 3], None)],
)
def test_half_of_the_fall_is_found_between_the_steps(losses: list[float], expected: float | None) -> None:
    found = half_way([1, 10, 100], np.array(losses, float))
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-5))  # it is rounded


def stands() -> list[Stand]:
    scores = [HeadScores(*(np.full((1, 2), value) for value in (0.1 * step, 0.2, 0.3))) for step in (1, 2)]
    return [
        Stand(10**place, np.array([5.0 - place, 4, np.nan, 3, 2, 1]), heads, 3.0, 2.0)
        for place, heads in enumerate(scores)
    ]


def test_the_views_hold_the_kinds_that_occur_and_the_heads() -> None:
    topic = training_views(stands())
    losses, table, heads, copies, grid = topic.views
    assert isinstance(losses, Curves)
    assert [curve.name for curve in losses.curves] == [kind for kind in KINDS if kind != "punctuation"]
    assert losses.curves[0].y == (5, 4)
    assert isinstance(table, Table)
    assert table.rows[0] == (FIRST, 5, 4, 3)
    assert table.rows[1] == (INSIDE, 4, 4, None)
    assert isinstance(heads, Curves)
    assert [curve.y for curve in heads.curves] == [(0.1, 0.2), (0.2, 0.2), (0.3, 0.3)]
    assert isinstance(copies, Curves)
    assert copies.curves[1].y == (2, 2)
    assert grid.kind == "grid"


def test_a_run_without_snapshots_or_without_heads_to_measure_has_a_sensible_topic(tmp_path: Path) -> None:
    assert "train.snapshots" in training_views(stands()[:1]).notes[0]
    bare = [Stand(each.step, each.losses, None, None, None) for each in stands()]
    assert len(training_views(bare).views) == 2
    for name, shown in (("one", stands()[:1]), ("bare", bare), ("all", [replace(stands()[0], step=0), *stands()])):
        plot_learning(shown, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
