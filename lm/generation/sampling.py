"""How the next token is chosen from logits."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray

from lm.config.sample import SampleConfig
from lm.generation.largest import finite, first, largest, on_host, sum_of_weights, top_values, weights_of

_FIRST_LOOK = 64  # how many tokens top-p sorts at first; a few tokens often hold most of the probability
_GROWTH = 16  # by how much this number grows if these tokens do not reach p


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
    logits: Float[Any, "batch vocab"], sampling: Sampling
) -> tuple[Int64[np.ndarray, "batch n"], Float64[np.ndarray, "batch n"]]:
    """The ids that may be drawn, in rising order, and their weights: probabilities up to a factor per row.

    A token that is not a candidate of its row has the weight 0. The temperature must be above 0.
    """
    ids = None
    if sampling.top_k is not None:
        ids, logits = largest(logits, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1:
        places, weights = nucleus(logits, sampling.temperature, sampling.top_p)
    else:
        places, logits = largest(logits, logits.shape[1])
        weights = weights_of(logits, sampling.temperature)
    if sampling.min_p is not None:
        weights = np.where(weights < sampling.min_p, 0, weights)  # the largest weight is 1
    if sampling.typical_p is not None and sampling.typical_p < 1:
        weights = typical(weights, sampling.typical_p)
    return places if ids is None else np.take_along_axis(ids, places, -1), weights


def nucleus(
    logits: Float[Any, "batch vocab"], temperature: float, p: float
) -> tuple[Int64[np.ndarray, "batch n"], Float64[np.ndarray, "batch n"]]:
    """Candidates of top-p: the fewest tokens whose weights add up to p of the whole.

    The whole is summed up first; then the largest weights are sorted, more and more of them until they reach p.
    """
    wanted, vocab_size = p * sum_of_weights(logits, temperature)[:, None], logits.shape[1]
    n = min(_FIRST_LOOK, vocab_size)
    while True:
        ranked = top_values(logits, n)
        weights = weights_of(ranked, temperature)
        reached = np.cumsum(weights, axis=-1)
        if n == vocab_size or (reached[:, -1:] >= wanted).all():
            break
        more = min(n * _GROWTH, vocab_size)
        # No other token weighs more than the last one. So this bound shows whether `more` tokens can reach p at all.
        can_reach = reached[:, -1:] + (more - n) * weights[:, -1:] >= wanted
        n = more if can_reach.all() else vocab_size
    n_kept = (reached - weights < wanted).sum(-1, keepdims=True)
    # If all tokens had to be sorted, most are kept. Then picking them out would cost more time than it saves.
    ids, values = largest(logits, int(n_kept.max()) if n < vocab_size else n)
    kept = first(values, n_kept, np.take_along_axis(ranked, n_kept - 1, -1))
    return ids, np.where(kept, weights_of(values, temperature), 0)


def typical(weights: Float64[np.ndarray, "batch n"], p: float) -> Float64[np.ndarray, "batch n"]:
    """The weights of the locally typical tokens, and 0 for the others.

    The tokens are ranked by |-log(probability) - entropy|, the smallest first. The first ones that reach p are kept,
    and those equal to the last of them (Meister et al. 2022, https://arxiv.org/abs/2202.00666, equation 10).
    """
    total, size = weights.sum(-1, keepdims=True), weights.shape[1]
    mean = np.vecdot(weights, _log(weights))[:, None] / total  # of the logarithms of the weights
    n = min(_FIRST_LOOK, size)
    while True:
        ranked = top_values(weights, n)
        beyond = mean - _log(ranked)  # surprise - entropy
        order = np.argsort(np.abs(beyond), axis=-1)
        reached = np.cumsum(np.take_along_axis(ranked, order, -1), axis=-1)
        last = np.minimum((reached < p * total).sum(-1, keepdims=True), n - 1)
        limit = np.take_along_axis(np.abs(beyond), np.take_along_axis(order, last, -1), -1)
        # All tokens that are not looked at are even less likely than the last one, and farther from the entropy.
        if n == size or ((reached[:, -1:] >= p * total) & (beyond[:, -1:] >= limit)).all():
            break
        n = min(n * _GROWTH, size)
    kept = np.abs(beyond) <= limit
    least, most = np.where(kept, ranked, np.inf).min(-1), np.where(kept, ranked, 0).max(-1)
    return np.where((weights >= least[:, None]) & (weights <= most[:, None]), weights, 0)


def _log(weights: Float64[np.ndarray, "batch n"]) -> Float64[np.ndarray, "batch n"]:
    """The natural logarithm; of 0 that of the smallest normal number."""
    logs: Float64[np.ndarray, "batch n"] = np.log(np.maximum(weights, np.finfo(np.float64).tiny))
    return logs


def draw(
    ids: Int64[np.ndarray, "batch n"], weights: Float64[np.ndarray, "batch n"], uniform: Float64[np.ndarray, " batch"]
) -> Int64[np.ndarray, " batch"]:
    """One of the ids of each row, with the probability that its weight gives it."""
    cumulative = np.cumsum(weights, axis=-1)
    places = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(-1)
    chosen: NDArray[np.int64] = ids[np.arange(len(ids)), places]
    return chosen
