"""An induction head: found, watched while it is learnt, and removed.

    python -m benchmarks.induction

A small model learns lists of random tokens, each told twice. The first telling cannot be guessed, the second can, by
looking up what came after the same token before. Every few steps the scores of the heads and the two losses are
measured on new lists. At the end each head is removed. The model and the recipe are those of params.yaml but for the
sizes below, and no head begins by looking back, unless asked. The figures and the picture depend on the seed alone.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from ruamel.yaml import YAML

from lm.analysis.figure import name_ends, new_figure, save_figure
from lm.analysis.inside.ablation import without_heads
from lm.analysis.inside.repeats import Repeats, head_scores, mean_and_error, repeat_losses
from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.model.transformer import Transformer
from lm.training.build import build_backend
from lm.training.source import Documents
from lm.training.trainer import Trainer

VOCAB_SIZE, END_ID = 256, 0
SIZES = {"context_length": 64, "d_model": 64, "n_layers": 2, "n_heads": 4}
RECIPE = {
    **{"steps": 600, "batch_size": 16, "valid_every": 600, "valid_sequences": 16},
    **{"device": "cpu", "precision": "fp32", "compile": False, "threads": 1},
}
LONGEST = 30  # tokens of a list
STRONG = 0.5  # induction score from which on a head counts as an induction head


def lists(count: int, seed: int) -> Documents:
    """Documents of 10 to 30 random tokens, told twice, and the end token."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    told = []
    for _ in range(count):
        once = generator.integers(1, VOCAB_SIZE, generator.integers(10, LONGEST + 1))
        told += [once, once, np.array([END_ID])]
    ids = np.concatenate(told)
    return Documents(ids, np.flatnonzero(ids == END_ID), int(SIZES["context_length"]))


def new_lists(count: int, seed: int) -> Repeats:
    """Lists of the greatest length, in which no token stands twice in a telling."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    told = [1 + generator.choice(VOCAB_SIZE - 1, LONGEST, replace=False) for _ in range(count)]
    return Repeats(torch.tensor(np.array([[END_ID, *once, *once] for once in told])), LONGEST)


def main() -> None:
    """Train, and print a line for each measurement and for each head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--every", type=int, default=20, help="steps between two measurements")
    parser.add_argument("--look-back-heads", type=int, default=0, help="heads that begin by looking back")
    parser.add_argument("--picture", type=Path, help="a PNG of the scores and losses against steps")
    arguments = parser.parse_args()
    params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    model_config = ModelConfig.parse(params["model"] | SIZES | {"look_back_heads": arguments.look_back_heads})
    config = TrainConfig.parse(params["train"] | RECIPE)
    backend = build_backend(config, model_config, VOCAB_SIZE, arguments.seed, end_id=END_ID)
    trainer = Trainer(backend, lists(20_000, seed=1), lists(100, seed=2), config, arguments.seed)
    measured, tested = new_lists(64, seed=3), new_lists(256, seed=4)

    model = Transformer(model_config, VOCAB_SIZE).eval()
    steps, curves = [], []
    steady = trainer.run()
    print("step   loss, first telling   loss, second telling   previous-token score   induction score")
    while True:
        model.load_state_dict({name: torch.from_numpy(weight.copy()) for name, weight in backend.weights().items()})
        scores, losses = head_scores(model, measured), repeat_losses(model, measured)
        steps.append(trainer.step)
        curves.append((scores.previous.max(), scores.induction.max(), losses.first.mean(), losses.second.mean()))
        previous, induction, first, second = curves[-1]
        print(f"{trainer.step:4}   {first:19.3f}   {second:20.3f}   {previous:20.2f}   {induction:15.2f}", flush=True)
        if trainer.done:
            break
        for _ in islice(steady, arguments.every):
            pass
    removed(model, tested)
    if arguments.picture:
        draw(arguments.picture, steps, np.array(curves))


def removed(model: Transformer, tested: Repeats) -> None:
    """Print what each head scores, and both losses without it."""
    scores, usual = head_scores(model, tested), repeat_losses(model, tested)
    print(f"\nfirst telling {plus_minus(usual.first)}, second telling {plus_minus(usual.second)} nats a token")
    print("head   previous-token   same-token   induction   first telling rises by   second telling rises by")
    every = [(int(layer), int(head)) for layer, head in np.ndindex(scores.induction.shape)]
    for layer, head in every:
        seen = (score[layer, head] for score in (scores.previous, scores.duplicate, scores.induction))
        print(
            "{:<6} {:14.2f} {:12.2f} {:11.2f}".format(f"{layer}.{head}", *seen), *rises(model, tested, [(layer, head)])
        )
    # One head may do the work of another, so they are also taken away one after the other, the strongest first.
    order = sorted(
        (head for head in every if scores.induction[head] > STRONG), key=lambda head: -scores.induction[head]
    )
    print("\ntaken away together   first telling rises by   second telling rises by")
    for count in range(1, len(order) + 1):
        names = " ".join(f"{layer}.{head}" for layer, head in order[:count])
        print(f"{names:<21}", *rises(model, tested, order[:count]))


def rises(model: Transformer, tested: Repeats, heads: list[tuple[int, int]]) -> tuple[str, str]:
    """What the loss of each telling rises by without some heads."""
    usual, without = repeat_losses(model, tested), repeat_losses(model, tested, without_heads(heads))
    return f"{plus_minus(without.first - usual.first):>24}", f"{plus_minus(without.second - usual.second):>25}"


def plus_minus(values: NDArray[np.float64]) -> str:
    """The mean and its standard error."""
    mean, error = mean_and_error(values)
    return f"{mean:.3f} ± {error:.3f}"


def draw(path: Path, steps: list[int], curves: NDArray[np.float64]) -> None:
    """The highest scores of all heads, and the share of the first telling's loss that the second has."""
    figure, axes = new_figure("An induction head is learnt", "step", "score, and share of the loss")
    named = [
        (curves[:, 0], "previous-token score", "#5b7ba3"),
        (curves[:, 1], "induction score", "#c2410c"),
        (curves[:, 3] / curves[:, 2], "loss of the second telling", "#6b7280"),
    ]
    for values, _, colour in named:
        axes.plot(steps, values, color=colour)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    name_ends(axes, [(float(values[-1]), name, colour) for values, name, colour in named])
    save_figure(figure, path)


if __name__ == "__main__":
    main()
