"""What a model learns when: its snapshots, measured on the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from lm.analysis.evaluation import predict
from lm.analysis.figure import dress, log_axis, name_ends, plain_axis, save_figure
from lm.analysis.inside.repeats import HeadScores, Repeats, head_scores, repeat_losses
from lm.analysis.token_kinds import KINDS
from lm.analysis.views import Curve, Curves, Grid, Table, Topic, View, numbers
from lm.model.transformer import Transformer
from lm.training.batch import Batch

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5528f", "#8a6d00", "#1f2937")  # as on the page


@dataclass(frozen=True)
class Stand:
    """What a model can do after a step: the mean loss of each kind of token, and its heads on repeated random tokens.

    A kind that does not occur has the loss NaN. `heads`, `first` and `second` are None where nothing fits twice into
    the context; `first` and `second` are the losses of the two copies.
    """

    step: int
    losses: Float[np.ndarray, " kinds"]
    heads: HeadScores | None
    first: float | None
    second: float | None


def stand(
    model: Transformer, step: int, texts: Batch, kinds: Sequence[Sequence[str | None]], repeats: Repeats | None
) -> Stand:
    """What a model can do. `kinds` holds the kind of each token of each row of `texts`."""
    losses = token_losses(model, texts)
    of_kind = np.where(np.isnan(losses), -1, np.array([[_place(kind) for kind in row] for row in kinds]))
    means = [losses[of_kind == place].mean() if (of_kind == place).any() else np.nan for place in range(len(KINDS))]
    if repeats is None:
        return Stand(step, np.array(means), None, None, None)
    copies = repeat_losses(model, repeats)
    return Stand(
        step, np.array(means), head_scores(model, repeats), float(copies.first.mean()), float(copies.second.mean())
    )


@torch.no_grad()
def token_losses(model: Transformer, texts: Batch) -> Float[np.ndarray, "rows seq"]:
    """The loss of each token in nats; NaN where a row is filled up."""
    counted = texts.weights > 0
    hidden = model.hidden(torch.from_numpy(texts.inputs).to(model.device))
    found = np.full(counted.shape, np.nan)
    targets = torch.from_numpy(texts.targets[counted]).to(model.device)
    found[counted], _ = predict(model, hidden[torch.from_numpy(counted).to(model.device)], targets)
    return found


def _place(kind: str | None) -> int:
    return -1 if kind is None else KINDS.index(kind)


def half_way(steps: Sequence[int], losses: Float[np.ndarray, " n"]) -> float | None:
    """The step at which the loss has done half of its fall from the first to the last value; None if it did not fall.

    Between two steps the loss is taken to fall evenly over the logarithm of the step.

    >>> half_way([1, 10, 100], np.array([6.0, 4.0, 2.0]))
    10.0
    >>> half_way([1, 10, 100], np.array([6.0, 6.0, 2.0])).__round__(1)
    31.6
    """
    if not losses[-1] < losses[0]:
        return None
    middle = (losses[0] + losses[-1]) / 2
    place = int(np.argmax(losses <= middle))
    share = (losses[place - 1] - middle) / (losses[place - 1] - losses[place])
    low, high = np.log(max(1, steps[place - 1])), np.log(steps[place])
    return float(np.exp(low + share * (high - low)).round(6))


def training_views(stands: Sequence[Stand]) -> Topic:
    """The views of a run, from the stands of its snapshots in the order of their steps."""
    if len(stands) < 2:
        notes = ("There are no snapshots of this run: name steps in train.snapshots to see what is learned when.",)
        return Topic("training", "Through training", [], notes)
    steps = [each.step for each in stands]
    losses = np.array([each.losses for each in stands])
    shown = [place for place in range(len(KINDS)) if np.isfinite(losses[:, place]).all()]
    views: list[View] = [
        Curves(
            "The loss of each kind of token",
            "What is easy is learned first: which tokens are frequent, then how words and sentences go on. A name that "
            "was said before can only be known by looking back.",
            "step",
            "loss in nats a token",
            [Curve(KINDS[place], steps, numbers(losses[:, place])) for place in shown],
            log_x=True,
        ),
        Table(
            "When each kind is learned",
            "The step at which the loss has done half of its fall, between the snapshots by interpolation.",
            ["kind of token", "loss at first", "loss at last", "half of the fall at step"],
            [
                (KINDS[place], *numbers(losses[[0, -1], place]), _whole(half_way(steps, losses[:, place])))
                for place in shown
            ],
        ),
    ]
    heads = [(each.step, each.heads) for each in stands if each.heads]
    if heads:
        views += _head_views(heads, stands)
    return Topic("training", "Through training", views)


def _head_views(heads: Sequence[tuple[int, HeadScores]], stands: Sequence[Stand]) -> list[View]:
    steps = [step for step, _ in heads]
    by_head = np.array([scores.induction.flatten() for _, scores in heads])
    shape = heads[0][1].induction.shape
    return [
        Curves(
            "Heads that find their task",
            "On random tokens that are said twice: the score of the best head for each task. An induction head looks "
            "at what came after the same token before, and needs a head that looks at the previous token.",
            "step",
            "weight of the best head",
            [
                Curve("previous token", steps, numbers(np.array([scores.previous.max() for _, scores in heads]))),
                Curve("same token before", steps, numbers(np.array([scores.duplicate.max() for _, scores in heads]))),
                Curve("induction", steps, numbers(by_head.max(1))),
            ],
            log_x=True,
        ),
        Curves(
            "The loss on what was said before",
            "Random tokens, said twice. Nothing in the first copy can be known, in the second all can.",
            "step",
            "loss in nats a token",
            [
                Curve("first copy", steps, [each.first for each in stands]),
                Curve("second copy", steps, [each.second for each in stands]),
            ],
            log_x=True,
        ),
        Grid(
            "The induction score of each head",
            "How much each head looks at what came after the same token before, by step.",
            "head",
            "step",
            "weight",
            [f"{layer}.{head}" for layer, head in np.ndindex(shape)],
            [str(step) for step in steps],
            numbers(by_head.T),
        ),
    ]


def _whole(step: float | None) -> int | None:
    return None if step is None else round(step)


def plot_learning(stands: Sequence[Stand], path: Path) -> None:
    """What is learned when, in one picture: the loss of each kind of token, and the heads that make it fall.

    Step 0 has no place on the logarithmic axis.
    """
    stands = [each for each in stands if each.step]
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [each.step for each in stands]
    names = []
    for place, (kind, colour) in enumerate(zip(KINDS, _COLOURS, strict=True)):
        losses = np.array([each.losses[place] for each in stands])
        if len(stands) and np.isfinite(losses).all():
            left.plot(steps, losses, color=colour, marker="o", markersize=3)
            names.append((float(losses[-1]), kind, colour))
    left.set(title="What is learned when: the loss of each kind of token", xlabel="step", ylabel="nats per token")
    heads = [(each.step, each.heads) for each in stands if each.heads]
    best = {
        "previous token": [scores.previous.max() for _, scores in heads],
        "same token before": [scores.duplicate.max() for _, scores in heads],
        "induction": [scores.induction.max() for _, scores in heads],
    }
    tasks = []
    for (task, scores), colour in zip(best.items(), _COLOURS, strict=False):
        if scores:
            right.plot([step for step, _ in heads], scores, color=colour, marker="o", markersize=3)
            tasks.append((float(scores[-1]), task, colour))
    right.set(
        title="The best head for each task, on random tokens said twice", xlabel="step", ylabel="attention weight"
    )
    for axes, ends in ((left, names), (right, tasks)):
        dress(axes)
        axes.title.set_fontsize(11)
        plain_axis(axes, "y")
        axes.set_ylim(bottom=0)
        log_axis(axes, "x")
        if ends:
            name_ends(axes, ends)
    save_figure(figure, path)
