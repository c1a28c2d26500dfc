"""What the weights themselves say: which tokens lie side by side, how large matrices are, and how many directions
they use."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lm.formats.model_file import Weights
from lm.formats.parameters import Table


class Matrix(NamedTuple):
    """A matrix inside a block: `name` is query, key, value, out, up, gate or down."""

    layer: int
    name: str
    values: Float[np.ndarray, "outputs inputs"]


def matrices(table: Table, weights: Weights) -> Iterator[Matrix]:
    """The matrices of the blocks, in the order of the table. Those that are stored as one come one by one."""
    for name, spec in table.items():
        if spec.role != "hidden":
            continue
        _, layer, _, kind, _ = name.split(".")
        values = np.asarray(weights[name])
        ends = np.cumsum([*spec.parts.values()])
        if spec.parts:
            for part, rows in zip(spec.parts, np.split(values, ends[:-1]), strict=True):
                yield Matrix(int(layer), part, rows)
        else:
            yield Matrix(int(layer), kind, values)


def spectrum(matrix: Float[np.ndarray, "outputs inputs"]) -> Float[np.ndarray, " rank"]:
    """The singular values, from the largest on."""
    result: Float[np.ndarray, " rank"] = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    return result


def effective_rank(singular: Float[np.ndarray, " rank"]) -> float:
    """How many directions a matrix uses: exp of the entropy of its singular values as shares of their sum.

    n equal singular values give n. Roy & Vetterli 2007, https://ieeexplore.ieee.org/document/7098875. 0 for a matrix of
    zeros.
    """
    if not singular.sum():
        return 0.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def condition(singular: Float[np.ndarray, " rank"]) -> float:
    """The largest singular value over the smallest; infinite if that is 0."""
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")


def root_mean_square(values: Float[np.ndarray, "*n"]) -> float:
    """The root of the mean square of all entries."""
    return float(np.sqrt(np.square(values.astype(np.float64)).mean()))


def neighbours(
    embedding: Float[np.ndarray, "vocab d_model"], ids: Int[np.ndarray, " n"], count: int
) -> tuple[Int[np.ndarray, "n count"], Float[np.ndarray, "n count"]]:
    """The tokens whose embeddings point most nearly the same way as those of `ids`, and the cosines, nearest first.

    A token is no neighbour of its own.
    """
    size = np.linalg.norm(embedding, axis=1, keepdims=True)
    unit = embedding / np.where(size > 0, size, 1)
    cosine = unit[ids] @ unit.T
    cosine[np.arange(len(ids)), ids] = -np.inf
    count = min(count, len(embedding) - 1)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return nearest, np.take_along_axis(cosine, nearest, 1)
