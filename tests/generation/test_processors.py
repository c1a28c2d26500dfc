"""Each rule that changes or filters logits against the class of `transformers` with the same purpose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from transformers.generation import logits_process as theirs

from lm.generation.log_probabilities import log_probabilities
from lm.generation.penalties import penalised
from lm.generation.sampling import Sampling
from tests.generation.test_sampling import filtered, look_at_few

VOCAB_SIZE = 17
KINDS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64] | Tensor]] = {
    "array": lambda x: x,
    "tensor": torch.from_numpy,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
seeds = st.integers(0, 2**32 - 1)


def random_logits(seed: int, n_rows: int = 3) -> NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=seed)).normal(size=(n_rows, VOCAB_SIZE)) * 3


def as_array(logits: Any) -> NDArray[np.float64]:
    return logits if isinstance(logits, np.ndarray) else logits.numpy()


@each_kind
@settings(max_examples=30)
@given(
    seeds,
    st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=3, max_size=3),
    st.sampled_from([1.0, 1.3, 0.5]),
    st.none() | st.integers(1, 7),
)
@example(0, [[3] * 6] * 3, 1.0, 6)
def test_penalties_are_those_of_transformers(
    kind: str, seed: int, texts: list[list[int]], penalty: float, ngram: int | None
) -> None:
    logits = random_logits(seed)
    result = penalised(
        KINDS[kind](logits.copy()),
        Sampling(repetition_penalty=penalty, no_repeat_ngram=ngram),
        texts,
        [1, 2, 3],
    )
    expected, ids = torch.from_numpy(logits), torch.tensor(texts)
    if penalty != 1:
        expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, expected)
    if ngram is not None:
        expected = theirs.NoRepeatNGramLogitsProcessor(ngram)(ids, expected)
    # Both divide and multiply the same numbers of float64, so they give the same bits.
    assert as_array(result).tolist() == expected.tolist()


@each_kind
@settings(max_examples=20)
@given(
    seeds,
    st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=3, max_size=3),
    st.sampled_from([0.0, 0.5, -1.0]),
    st.sampled_from([0.0, 0.3]),
)
def test_frequency_and_presence_are_taken_from_what_is_written_and_not_from_the_prompt(
    kind: str, seed: int, written: list[list[int]], frequency: float, presence: float
) -> None:
    logits = random_logits(seed)
    prompts = [[1], [2, 3], [4, 4, 4]]
    result = penalised(
        KINDS[kind](logits.copy()),
        Sampling(frequency_penalty=frequency, presence_penalty=presence),
        [prompt + text for prompt, text in zip(prompts, written, strict=True)],
        [1, 2, 3],
    )
    for row, text in enumerate(written):
        for id in range(VOCAB_SIZE):
            expected = logits[row, id] - frequency * text.count(id) - presence * (id in text)
            assert float(result[row, id]) == pytest.approx(expected, rel=0, abs=1e-12)  # roundings of float64


def test_half_precision_is_not_penalised_in_half_precision() -> None:
    logits = torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16)
    result = penalised(logits, Sampling(repetition_penalty=1.01), [[0, 1]], [1])
    assert result[0].tolist() == pytest.approx([1 / 1.01, -1.01], rel=1e-6)
    assert logits.tolist() == [[1.0, -1.0]]


@each_kind
@settings(max_examples=60)
@given(
    seeds,
    st.sampled_from([0.7, 1.0, 1.5]),
    st.none() | st.integers(1, VOCAB_SIZE + 3),
    st.none() | st.sampled_from([0.3, 0.9]),
    st.none() | st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    st.none() | st.sampled_from([0.1, 0.5, 0.95]),
    st.sampled_from([1, 2048]),
)
def test_filters_leave_the_distribution_that_those_of_transformers_leave(
    kind: str,
    seed: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    typical_p: float | None,
    few: int,
) -> None:
    logits = random_logits(seed)
    sampling = Sampling(temperature, top_k, top_p, min_p, typical_p)
    with pytest.MonkeyPatch.context() as patch:  # so few that the filters have to look at more of them
        look_at_few(patch, few)
        result = filtered(logits, sampling, kind)

    steps: dict[Any, float | None] = {
        theirs.TemperatureLogitsWarper: temperature,
        theirs.TopKLogitsWarper: top_k,
        theirs.TopPLogitsWarper: top_p,
        theirs.MinPLogitsWarper: min_p,
        theirs.TypicalLogitsWarper: typical_p,
    }
    expected = torch.from_numpy(logits)
    for step, value in steps.items():
        if value is not None:
            expected = step(value)(None, expected)
    # Roundings of float64; a token that only one of the two keeps would show at 1e-4 and above.
    np.testing.assert_allclose(result, expected.softmax(-1).numpy(), rtol=0, atol=1e-12)


@each_kind
@settings(max_examples=20)
@given(seeds, st.integers(0, VOCAB_SIZE + 2))
def test_log_probabilities_are_those_of_the_softmax(kind: str, seed: int, n: int) -> None:
    logits = random_logits(seed)
    ids = np.array([0, 5, 16])
    logprobs, likeliest = log_probabilities(KINDS[kind](logits), ids, n)
    whole = torch.from_numpy(logits).log_softmax(-1)
    np.testing.assert_allclose(logprobs, whole[np.arange(3), ids], rtol=0, atol=1e-12)
    expected = whole.topk(min(n, VOCAB_SIZE))
    assert likeliest.ids.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(likeliest.logprobs, expected.values, rtol=0, atol=1e-12)
