"""Penalties: logits that depend on what a text already says. They take arrays, and tensors on any device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from lm.generation.sampling import Sampling

Texts = Sequence[Sequence[int]]


def penalised(
    logits: Float[Any, "batch vocab"], sampling: Sampling, texts: Texts, n_prompt: Sequence[int]
) -> Float[Any, "batch vocab"]:
    """New logits with the penalties of `sampling`.

    Args:
        logits: of the next token of each text; or their log probabilities.
        sampling: says which penalties there are.
        texts: the ids of each text, prompt included.
        n_prompt: how many ids of each text are its prompt.
    """
    logits = copied(logits)
    if sampling.repetition_penalty != 1:
        repetition(logits, texts, sampling.repetition_penalty)
    if sampling.no_repeat_ngram is not None:
        no_repeat(logits, texts, sampling.no_repeat_ngram)
    if sampling.frequency_penalty or sampling.presence_penalty:
        written = [text[n:] for text, n in zip(texts, n_prompt, strict=True)]
        frequency(logits, written, sampling.frequency_penalty, sampling.presence_penalty)
    return logits


def repetition(logits: Float[Any, "batch vocab"], texts: Texts, penalty: float) -> None:
    """Change the logits of the tokens of each text: positive ones are divided by the penalty, others multiplied.

    Keskar et al. 2019 (https://arxiv.org/abs/1909.05858), section 4.1, with the rule of `transformers` for the sign.
    """
    rows, ids, _ = _counts(texts)
    values = logits[rows, ids]
    above = values > 0
    values[above] /= penalty
    values[~above] *= penalty
    logits[rows, ids] = values


def frequency(logits: Float[Any, "batch vocab"], texts: Texts, frequency: float, presence: float) -> None:
    """Subtract `presence` from the logit of each token of a text, and `frequency` as often as the token occurs there.

    https://platform.openai.com/docs/api-reference/chat/create: a prompt does not count, so `texts` must lack it.
    """
    rows, ids, counts = _counts(texts)
    amounts = frequency * counts + presence
    values = logits[rows, ids]
    logits[rows, ids] = values - _like(amounts, values)


def no_repeat(logits: Float[Any, "batch vocab"], texts: Texts, n: int) -> None:
    """Give -infinity to each token that would make the last n tokens occur in the text a second time.

    Paulus et al. 2017 (https://arxiv.org/abs/1705.04304), section 2.5.
    """
    for row, text in enumerate(texts):
        ids = np.asarray(text)
        if len(ids) < n:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(ids, n)
        same = (windows[:, :-1] == ids[len(ids) - n + 1 :]).all(-1)
        logits[row, windows[same, -1]] = -np.inf


def barred(logits: Float[Any, "batch vocab"], bars: Sequence[Bool[np.ndarray, " vocab"] | None]) -> Any:
    """New logits, -infinity for the ids at which the bar of the row is true. A row without a bar stays as it is."""
    logits = copied(logits)
    for row, bar in enumerate(bars):
        if bar is not None:
            logits[row, bar.nonzero()[0]] = -np.inf
    return logits


def without(logits: Float[Any, "batch vocab"], ids: Texts) -> Any:
    """New logits, -infinity for these ids of each row."""
    logits = copied(logits)
    for row, never in enumerate(ids):
        logits[row, list(never)] = -np.inf
    return logits


def stuck(logits: Float[Any, "batch vocab"]) -> Bool[np.ndarray, " batch"]:
    """Whether no token may follow: all logits of the row are -infinity."""
    none = (logits == -np.inf).all(-1)
    return none if isinstance(none, np.ndarray) else none.cpu().numpy()


def copied(logits: Float[Any, "batch vocab"]) -> Any:
    """A copy that may be changed, in float32 where the logits have fewer bits."""
    if isinstance(logits, np.ndarray):
        return logits.copy()
    logits = logits.detach()
    return logits.float() if logits.element_size() < 4 else logits.clone()


def _counts(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows, ids and how often each of the ids occurs in the row; no pair of row and id twice."""
    found = [np.unique(np.asarray(text, dtype=np.int64), return_counts=True) for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(ids) for ids, _ in found])
    return rows, np.concatenate([ids for ids, _ in found]), np.concatenate([counts for _, counts in found])


def _like(values: NDArray[Any], others: Any) -> Any:
    """The values in the type of others, where these lie."""
    return values.astype(others.dtype) if isinstance(others, np.ndarray) else others.new_tensor(values)
