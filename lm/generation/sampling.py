"""How the next token is chosen from logits."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray

from lm.config.sample import SampleConfig
from lm.generation.cutoff import cutoff, cutoff_of_weights
from lm.generation.largest import finite, largest, on_host, weights_of

_BLOCK = 256  # weights that are added up first, and looked at one by one in the block that is drawn


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the likeliest token, or a random one of all or of the likeliest.

    `temperature` divides the logits; 0 takes the likeliest token (greedy). Then `top_k` keeps the k likeliest tokens
    (Fan et al. 2018, https://arxiv.org/abs/1805.04833). Then `top_p` keeps the fewest tokens whose probabilities add up
    to p or more (nucleus sampling, Holtzman et al. 2019, https://arxiv.org/abs/1904.09751). Among equally likely tokens
    the lower id goes first. Then `min_p` drops the tokens less likely than this share of the likeliest one (Nguyen et
    al. 2024, https://arxiv.org/abs/2407.01082). Then `typical_p` keeps the tokens whose surprise is nearest to the
    entropy, the fewest that reach p (Meister et al. 2022, https://arxiv.org/abs/2202.00666).

    The other fields change the logits before all this, by what the text already says: `lm.generation.penalties`.

    A new way to choose is a field here, a parameter with its range in `SampleConfig`, and a step in `candidates`.

    Raises:
        ValueError: with the message of the `sample` section of the parameters, which has the same ranges.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram: int | None = None

    def __post_init__(self) -> None:
        SampleConfig.parse({"prompts": [""], "max_new_tokens": 1, "device": "cpu"} | asdict(self))

    @classmethod
    def of(cls, config: SampleConfig) -> Self:
        """The way to choose that the `sample` section asks for."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    @property
    def looks_back(self) -> bool:
        """Whether the choice depends on the tokens of the text, and not on the logits alone."""
        penalties = self.repetition_penalty != 1, self.frequency_penalty, self.presence_penalty
        return any(penalties) or self.no_repeat_ngram is not None


GREEDY = Sampling(temperature=0.0)


def choose(
    logits: Float[Any, "batch vocab"], sampling: Sampling, uniform: Float64[np.ndarray, " batch"]
) -> Int64[np.ndarray, " batch"]:
    """One id per row, by inverting the cumulative distribution of the row at its number in `uniform`, in [0, 1).

    The logits are an array or a tensor on any device.
    """
    logits = on_host(logits)
    if not isinstance(logits, np.ndarray):
        from lm.generation.on_device import choose_on_device  # PyTorch is there, because the logits are its tensor

        return choose_on_device(logits, sampling, uniform)
    logits = finite(logits)
    if sampling.temperature == 0:
        ids = logits.argmax(-1)  # both libraries take the first of equals
        return ids if isinstance(ids, np.ndarray) else ids.cpu().numpy()
    return draw(*candidates(logits, sampling), uniform)


def candidates(
    logits: Float[np.ndarray, "batch vocab"], sampling: Sampling
) -> tuple[Int64[np.ndarray, "batch n"], Float[np.ndarray, "batch n"]]:
    """The ids that may be drawn, in rising order, and their weights: probabilities up to a factor per row.

    A token that is not a candidate of its row has the weight 0, and the likeliest one has 1. The temperature must be
    above 0.
    """
    ids, logits = largest(logits, logits.shape[1] if sampling.top_k is None else sampling.top_k)
    weights = weights_of(logits, sampling.temperature)
    if sampling.top_p is not None and sampling.top_p < 1:
        weights = nucleus(logits, weights, sampling.top_p)
    if sampling.min_p is not None:
        weights = np.where(weights < sampling.min_p, 0, weights)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        weights = typical(weights, sampling.typical_p)
    return ids, weights


def nucleus(
    logits: Float[np.ndarray, "batch n"], weights: Float[np.ndarray, "batch n"], p: float
) -> Float[np.ndarray, "batch n"]:
    """The weights of the fewest tokens that together have p of the probability, and 0 for the others."""
    kept = np.empty_like(weights)
    for row, (weight, out) in enumerate(zip(weights, kept, strict=True)):
        total = float(weight.sum())
        last = cutoff_of_weights(weight, p * total, total)
        _keep(weight, weight >= last, out)
        if np.count_nonzero(equal := weight == last) > 1:
            # Of equal weights the larger logits go first, and of these the lower ids.
            places = equal.nonzero()[0]
            places = places[np.argsort(-logits[row, places], kind="stable")]
            n_kept = np.ceil((p * total - out.sum(dtype=np.float64)) / last) + len(places)
            out[places[max(1, int(n_kept)) :]] = 0
    return kept


def typical(weights: Float[np.ndarray, "batch n"], p: float) -> Float[np.ndarray, "batch n"]:
    """The weights of the locally typical tokens, and 0 for the others.

    The tokens are ranked by |-log(probability) - entropy|, the smallest first. The first ones that reach p are kept,
    and those equal to the last of them (Meister et al. 2022, https://arxiv.org/abs/2202.00666, equation 10).
    """
    kept = np.empty_like(weights)
    for weight, out in zip(weights, kept, strict=True):
        # What has no weight counts as a token that weighs next to nothing. It comes last, and stays at 0 anyhow.
        logs = np.log(weight + np.finfo(weight.dtype).tiny)
        total = float(weight.sum(dtype=np.float64))
        nearness = -np.abs(np.dot(weight, logs) / total - logs)
        _keep(weight, nearness >= cutoff(nearness, weight, p * total, total), out)
    return kept


def _keep(weight: NDArray[Any], chosen: NDArray[np.bool_], out: NDArray[Any]) -> None:
    """Write the weights of the chosen tokens, and 0 for the others."""
    out[:] = chosen  # first as numbers, because a product with booleans takes twice as long as both steps
    out *= weight


def draw(
    ids: Int64[np.ndarray, "batch n"], weights: Float[np.ndarray, "batch n"], uniform: Float64[np.ndarray, " batch"]
) -> Int64[np.ndarray, " batch"]:
    """One of the ids of each row, with the probability that its weight gives it."""
    starts = np.arange(0, weights.shape[1], _BLOCK)
    sums = np.add.reduceat(weights, starts, axis=-1)
    wanted = uniform * sums.sum(-1, dtype=np.float64)
    blocks, ahead = _exceeded(sums, wanted)
    places = starts[blocks][:, None] + np.arange(min(_BLOCK, weights.shape[1]))
    inside = places < weights.shape[1]
    within = np.where(inside, np.take_along_axis(weights, np.where(inside, places, 0), -1), 0)
    place, _ = _exceeded(within, wanted - ahead)
    chosen: NDArray[np.int64] = ids[np.arange(len(ids)), starts[blocks] + place]
    return chosen


def _exceeded(
    amounts: Float[np.ndarray, "batch n"], wanted: Float64[np.ndarray, " batch"]
) -> tuple[Int64[np.ndarray, " batch"], Float64[np.ndarray, " batch"]]:
    """The first place of each row up to which the amounts add up to more than is wanted, and the sum ahead of it.

    It is a place with an amount above 0, also where rounding carries the wish beyond the whole sum.
    """
    reached = amounts.cumsum(-1, dtype=np.float64)
    places = np.minimum((reached <= wanted[:, None]).sum(-1), (reached < reached[:, -1:]).sum(-1))
    rows = np.arange(len(places))
    return places, np.where(places > 0, reached[rows, places - 1], 0)
