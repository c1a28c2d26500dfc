"""How the next token is chosen from logits."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray

from lm.config.sample import SampleConfig
from lm.generation.cutoff import take, take_heaviest
from lm.generation.largest import finite, largest_of_row, on_host, weights_of

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
        ids: NDArray[np.int64] = logits.argmax(-1)  # the first of equals
        return ids
    return np.array([_choose_of_row(row, sampling, u) for row, u in zip(logits, uniform.tolist(), strict=True)])


def candidates(
    logits: Float[np.ndarray, " vocab"], sampling: Sampling
) -> tuple[Int64[np.ndarray, " n"] | None, Float[np.ndarray, " n"]]:
    """The ids that may be drawn, in rising order, and their weights: probabilities up to a factor.

    The ids are None if they are all that there are. A token that is not a candidate has the weight 0, and the likeliest
    one has 1. The temperature must be above 0.
    """
    ids = None
    if sampling.top_k is not None and sampling.top_k < len(logits):
        ids = largest_of_row(logits, sampling.top_k)
        logits = logits[ids]
    weights = weights_of(logits, sampling.temperature)
    if sampling.top_p is not None and sampling.top_p < 1:
        weights = nucleus(logits, weights, sampling.top_p)
    if sampling.min_p is not None:
        weights *= (weights >= sampling.min_p).astype(weights.dtype)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        weights = typical(weights, sampling.typical_p)
    return ids, weights


def nucleus(logits: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], p: float) -> Float[np.ndarray, " n"]:
    """The weights of the fewest tokens that together have p of the probability, and 0 for the others."""
    total = float(weights.sum())
    kept, last = take_heaviest(weights, p * total, total)
    equal = kept == last
    if last > 0 and np.count_nonzero(equal) > 1:
        # Of equal weights the larger logits go first, and of these the lower ids.
        places = equal.nonzero()[0]
        places = places[np.argsort(-logits[places], kind="stable")]
        n_kept = np.ceil((p * total - kept.sum(dtype=np.float64)) / last) + len(places)
        kept[places[max(1, int(n_kept)) :]] = 0
    return kept


def typical(weights: Float[np.ndarray, " n"], p: float) -> Float[np.ndarray, " n"]:
    """The weights of the locally typical tokens, and 0 for the others.

    The tokens are ranked by |-log(probability) - entropy|, the smallest first. The first ones that reach p are kept,
    and those equal to the last of them (Meister et al. 2022, https://arxiv.org/abs/2202.00666, equation 10).
    """
    # What has no weight counts as a token that weighs next to nothing. It comes last, and stays at 0 anyhow.
    logs = np.log(weights + np.finfo(weights.dtype).tiny)
    total = float(weights.sum(dtype=np.float64))
    nearness = -np.abs(np.dot(weights, logs) / total - logs)
    return take(nearness, weights, p * total, total)[0]


def draw(weights: Float[np.ndarray, " n"], uniform: float) -> int:
    """A place with a weight above 0, each with the probability that its weight gives it."""
    if len(weights) <= 4 * _BLOCK:
        reached = weights.cumsum(dtype=np.float64)
        return _first_above(reached, uniform * float(reached[-1]))
    reached = np.add.reduceat(weights, np.arange(0, len(weights), _BLOCK)).cumsum(dtype=np.float64)
    wanted = uniform * float(reached[-1])
    block = _first_above(reached, wanted)
    ahead, start = float(reached[block - 1]) if block else 0.0, block * _BLOCK
    return start + _first_above(weights[start : start + _BLOCK].cumsum(dtype=np.float64), wanted - ahead)


def _choose_of_row(logits: NDArray[Any], sampling: Sampling, uniform: float) -> int:
    ids, weights = candidates(logits, sampling)
    place = draw(weights, uniform)
    return place if ids is None else int(ids[place])


def _first_above(reached: Float64[np.ndarray, " n"], wanted: float) -> int:
    """The first place where a running sum is above `wanted`.

    Its last step is taken where rounding carries the wish beyond the whole sum. So it is a place with a weight.
    """
    place = int(reached.searchsorted(wanted, "right"))
    return place if place < len(reached) else int(reached.searchsorted(reached[-1]))
