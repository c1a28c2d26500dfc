"""The views of what a model is made of: its embeddings, its stream and its matrices."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lm.analysis.inside.reading import Reading
from lm.analysis.inside.recording import run
from lm.analysis.inside.weights import (
    Matrix,
    condition,
    effective_rank,
    matrices,
    neighbours,
    root_mean_square,
    spectrum,
)
from lm.analysis.views import Curve, Curves, Table, View, numbers
from lm.model.transformer import Transformer
from lm.reference.initial import initial_weights
from lm.tokenizer.inspection import show_token
from lm.tokenizer.tokenizer import Tokenizer

_NEIGHBOURS, _NEIGHBOURS_OF = 5, 16


def neighbours_view(model: Transformer, tokenizer: Tokenizer, reading: Reading) -> Table:
    ids = np.array([*dict.fromkeys(reading.ids.tolist())][-_NEIGHBOURS_OF:])
    near, cosines = neighbours(model.embedding.weight.detach().float().numpy(), ids, _NEIGHBOURS)
    rows = [
        (
            show_token(tokenizer, id),
            ", ".join(f"{show_token(tokenizer, n)} {c:.2f}" for n, c in zip(ns, cs, strict=True)),
        )
        for id, ns, cs in zip(ids.tolist(), near.tolist(), cosines.tolist(), strict=True)
    ]
    return Table(
        "Which tokens lie side by side",
        "The tokens whose embeddings point most nearly the same way as those of the text, with the cosines: 1 is the "
        "same direction, 0 is none in common.",
        ["token", "nearest"],
        rows,
    )


def stream_view(model: Transformer, reading: Reading) -> Curves:
    values = run(model, reading.ids[None]).values
    names = {"residual": "stream before the layer", "attention": "attention adds", "feed_forward": "feed-forward adds"}
    curves = []
    for kind, name in names.items():
        sizes = [(site.layer, float(v.norm(dim=-1).mean())) for site, v in values.items() if site.kind == kind]
        curves.append(Curve(name, [layer for layer, _ in sizes], [size for _, size in sizes]))
    return Curves(
        "How large the vectors are",
        "The mean length of the residual stream and of what each layer adds to it, over the tokens of the text.",
        "layer",
        "length",
        curves,
    )


@dataclass(frozen=True)
class _Spectrum:
    matrix: Matrix
    singular: Float[np.ndarray, " rank"]
    drawn: Float[np.ndarray, " rank"]  # of the same matrix before training


def matrix_views(model: Transformer, seed: int) -> list[View]:
    """The spectra of the matrices in the blocks, beside those of matrices as training starts from them."""
    weights = {name: p.detach().float().cpu().numpy() for name, p in model.named_parameters()}
    start = initial_weights(model.config.model_copy(update={"zero_init": False}), model.vocab_size, seed)
    spectra = [
        _Spectrum(trained, spectrum(trained.values), spectrum(drawn.values))
        for trained, drawn in zip(matrices(model.table, weights), matrices(model.table, start), strict=True)
    ]
    middle = model.config.n_layers // 2
    curves = [_curve(s.matrix.name, s.singular) for s in spectra if s.matrix.layer == middle]
    curves += [_curve("query, as it started", s.drawn) for s in spectra if s.matrix[:2] == (middle, "query")]
    rows = [
        (
            s.matrix.layer,
            s.matrix.name,
            *map(float, (f"{root_mean_square(s.matrix.values):.3g}", f"{s.singular[0]:.3g}")),
            round(effective_rank(s.singular) / len(s.singular), 2),
            round(effective_rank(s.drawn) / len(s.drawn), 2),
            numbers(np.array(condition(s.singular))),
        )
        for s in spectra
    ]
    return [
        Curves(
            "How many directions the matrices use",
            f"The singular values of each matrix of layer {middle} as shares of the largest. The flatter the line, the "
            "more directions count. Muon makes all singular values of an update alike, so its matrices have flat ones.",
            "singular value, from the largest on",
            "share of the largest",
            curves,
            log_y=True,
        ),
        Table(
            "Size and rank of every matrix",
            "Root mean square of the entries, largest singular value, and effective rank (exp of the entropy of the "
            "singular values) as a share of the full rank, after training and at its start. Condition: the largest "
            "singular value over the smallest.",
            ["layer", "matrix", "rms", "largest singular value", "effective rank", "at the start", "condition"],
            rows,
        ),
    ]


def _curve(name: str, singular: Float[np.ndarray, " rank"]) -> Curve:
    share = singular / singular[0] if singular[0] > 0 else singular
    return Curve(name, [*map(float, range(1, len(share) + 1))], numbers(share))
