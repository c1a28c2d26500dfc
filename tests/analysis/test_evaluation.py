"""Tests of lm/analysis/evaluation.py."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.analysis.evaluation import Evaluation, batches, evaluate, rows, summarise
from lm.model.transformer import Transformer
from tests.small import random_model

VOCAB_SIZE, END_ID = 23, 3


def random_ids(lengths: list[int], seed: int = 0) -> list[NDArray[np.uint16]]:
    generator = np.random.Generator(np.random.Philox(key=seed))
    documents = [generator.integers(0, VOCAB_SIZE, length).astype(np.uint16) for length in lengths]
    for document in documents:
        document[-1] = END_ID
    return documents


@given(st.lists(st.integers(1, 60), max_size=6), st.integers(2, 17))
def test_each_token_is_scored_once_with_at_least_half_a_context_before_it(
    lengths: list[int], context_length: int
) -> None:
    scored: list[list[int]] = [[] for _ in lengths]
    for row in rows(lengths, context_length):
        assert 0 <= row.start <= row.first < row.end <= lengths[row.document]
        assert row.end - row.start <= context_length
        assert row.start == 0 or row.first - row.start >= context_length / 2
        scored[row.document] += range(row.first, row.end)
    assert scored == [list(range(length)) for length in lengths]


@torch.no_grad()
def slowly(model: Transformer, document: NDArray[np.uint16]) -> tuple[list[float], int]:
    """The loss of each token of a document and how many were right, one token at a time and in float64."""
    context_length = model.config.context_length
    stride = context_length // 2
    text = [END_ID, *(int(id) for id in document)]
    losses, n_correct = [], 0
    for place in range(len(document)):
        # The first context serves its whole length; after it, each step of half a context starts so much later.
        start = 0 if place < context_length else ((place - context_length) // stride + 1) * stride
        logits = model(torch.tensor([text[start : place + 1]]))[0, -1].double()
        losses.append(float(-torch.log_softmax(logits, -1)[text[place + 1]]))
        n_correct += int(logits.argmax()) == text[place + 1]
    return losses, n_correct


LENGTHS = [1, 7, 8, 9, 3, 30, 12, 2, 21]


@pytest.mark.parametrize("context_length", [2, 7, 8])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluation_equals_one_token_at_a_time_whatever_the_batch_size(context_length: int, batch_size: int) -> None:
    model = random_model(VOCAB_SIZE, context_length=context_length)
    documents = random_ids(LENGTHS)
    done: list[int] = []
    result = evaluate(model, documents, END_ID, batch_size, done.append)
    losses, n_correct = zip(*(slowly(model, document) for document in documents), strict=True)

    # Logits of size 10 in float32 are rounded by some 1e-6 each; a document sums up to 30 losses. Measured: 1e-5.
    np.testing.assert_allclose(result.loss, [sum(values) for values in losses], rtol=0, atol=1e-4)
    assert result.n_correct.tolist() == list(n_correct)
    assert sum(n_correct) > 0
    assert result.n_tokens.tolist() == LENGTHS
    assert sum(done) == sum(LENGTHS)
    by_position = [[values[i] for values in losses if len(values) > i] for i in range(context_length)]
    np.testing.assert_allclose(result.position_loss, [np.mean(values) for values in by_position], rtol=0, atol=1e-4)
    assert result.position_count.tolist() == [len(values) for values in by_position]


def test_logits_exist_a_chunk_at_a_time_and_only_of_tokens_that_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    model, n_rows, head = random_model(VOCAB_SIZE), [], Transformer.logits
    whole = evaluate(model, random_ids(LENGTHS), END_ID, 100)

    def logits(model: Transformer, hidden: torch.Tensor) -> torch.Tensor:
        n_rows.append(len(hidden.flatten(0, -2)))
        return head(model, hidden)

    monkeypatch.setattr("lm.analysis.evaluation.chunk_bytes", lambda device: 4 * VOCAB_SIZE * 5 + 3)
    monkeypatch.setattr(Transformer, "logits", logits)
    chunked = evaluate(model, random_ids(LENGTHS), END_ID, 100)
    assert max(n_rows) == 5
    assert sum(n_rows) == sum(LENGTHS)
    np.testing.assert_allclose(chunked.loss, whole.loss, rtol=0, atol=1e-4)  # as above
    assert chunked.n_correct.tolist() == whole.n_correct.tolist()


@given(st.lists(st.integers(1, 60), max_size=20), st.integers(2, 17), st.integers(1, 100))
def test_a_batch_holds_as_many_rows_as_fit_and_all_rows_come_in_order(
    lengths: list[int], context_length: int, n_tokens: int
) -> None:
    ordered = sorted(rows(lengths, context_length), key=lambda row: row.start - row.end)
    made = list(batches(ordered, n_tokens))
    assert [row for batch in made for row in batch] == ordered
    for i, batch in enumerate(made):
        width = max(row.end - row.start for row in batch)
        assert len(batch) == 1 or len(batch) * width <= n_tokens
        assert i == len(made) - 1 or (len(batch) + 1) * width > n_tokens


def test_dropout_takes_no_part() -> None:
    model = random_model(VOCAB_SIZE, dropout=0.5).train()
    result = evaluate(model, random_ids(LENGTHS), END_ID, 4)
    assert result.loss.tolist() == evaluate(random_model(VOCAB_SIZE), random_ids(LENGTHS), END_ID, 4).loss.tolist()


def test_positions_that_no_document_reaches_have_no_loss() -> None:
    result = evaluate(random_model(VOCAB_SIZE), random_ids([2, 3]), END_ID, 8)
    assert result.position_count.tolist() == [2, 2, 1, 0, 0, 0, 0, 0]
    assert np.isnan(result.position_loss).tolist() == [False] * 3 + [True] * 5


def test_a_model_that_knows_nothing_loses_the_logarithm_of_the_vocabulary_everywhere() -> None:
    model = random_model(VOCAB_SIZE)
    torch.nn.init.zeros_(model.embedding.weight)
    result = evaluate(model, random_ids(LENGTHS), END_ID, 4)
    # float32 rounds log 23 = 3.1 by at most 1.2e-7.
    np.testing.assert_allclose(result.position_loss, math.log(VOCAB_SIZE), rtol=0, atol=5e-7)
    np.testing.assert_allclose(result.loss / result.n_tokens, math.log(VOCAB_SIZE), rtol=0, atol=5e-7)


def evaluation(loss: list[float], n_tokens: list[int], n_correct: list[int]) -> Evaluation:
    return Evaluation(np.array(n_tokens), np.array(loss), np.array(n_correct), np.zeros(1), np.ones(1, np.int64))


def test_the_figures_of_two_documents_are_those_worked_out_by_hand() -> None:
    figures = summarise(evaluation([4.0, 8.0], [2, 4], [1, 3]), np.array([8, 4]), np.array([4.0, 8.0]))
    bits = 12 / math.log(2) / 12
    # All values are products of a few floats, exact but for the last bits.
    assert figures == pytest.approx(
        {
            "loss": 2.0,
            "loss_standard_error": 0.0,  # both documents lose 2 a token
            "perplexity": math.e**2,
            "bits_per_byte": bits,
            # The residuals are 4/ln 2 - 8 bits = -4/ln 2 and 8/ln 2 - 4 bits = 4/ln 2: sqrt(2 (4/ln 2)^2 * 2 / 1) / 12
            "bits_per_byte_standard_error": 8 / math.log(2) / 12,
            "accuracy": 4 / 6,
            # 1 - 2 * 2/3 = -1/3 and 3 - 4 * 2/3 = 1/3: sqrt(2/9 * 2) / 6
            "accuracy_standard_error": 1 / 9,
            "n_documents": 2,
            "n_tokens": 6,
            "n_bytes": 12,
            "floor_bits_per_byte": 1.0,
            "excess_bits_per_byte": bits - 1.0,
            # Excesses of 4/ln 2 - 4 and 8/ln 2 - 8 over 8 and 4 bytes: the residuals are 4 - 4/ln 2 and its opposite.
            "excess_bits_per_byte_standard_error": (8 / math.log(2) - 8) / 12,
        },
        rel=1e-12,
    )


def test_documents_of_one_length_have_the_standard_error_of_a_mean() -> None:
    generator = np.random.Generator(np.random.Philox(key=0))
    means = generator.normal(2.0, 0.3, 50)
    figures = summarise(evaluation(list(means * 10), [10] * 50, [5] * 50), np.full(50, 40), None)
    # The same formula in another order of float64 operations.
    assert figures["loss"] == pytest.approx(means.mean(), rel=1e-12)
    assert figures["loss_standard_error"] == pytest.approx(means.std(ddof=1) / math.sqrt(50), rel=1e-12)
    assert figures["accuracy_standard_error"] == 0
    assert not [name for name in figures if "floor" in name or "excess" in name]


def test_the_standard_error_is_the_spread_of_the_loss_over_samples_of_documents() -> None:
    generator = np.random.Generator(np.random.Philox(key=1))
    losses: list[Any] = []
    errors: list[Any] = []
    for _ in range(400):
        n_tokens = generator.integers(20, 200, 100)
        rates = generator.normal(2.0, 0.5, 100)
        figures = summarise(evaluation(list(rates * n_tokens), list(n_tokens), [0] * 100), n_tokens, None)
        losses.append(figures["loss"])
        errors.append(figures["loss_standard_error"])
    # The spread of 400 draws is itself known to 1 in sqrt(800), 3.5 %; three times that.
    assert np.mean(errors) == pytest.approx(np.std(losses), rel=0.11)


def test_a_single_document_tells_nothing_of_the_spread() -> None:
    figures = summarise(evaluation([3.0], [2], [1]), np.array([5]), np.array([2.0]))
    assert (figures["loss"], figures["accuracy"], figures["bits_per_byte"]) == (1.5, 0.5, 3.0 / math.log(2) / 5)
    assert {value for name, value in figures.items() if name.endswith("standard_error")} == {None}


def test_a_loss_whose_perplexity_no_number_can_hold_has_all_other_figures() -> None:
    figures = summarise(evaluation([2801.0, 1.0], [2, 2], [1, 1]), np.array([5, 5]), None)
    assert (figures["loss"], figures["perplexity"]) == (700.5, None)
    assert all(math.isfinite(value) for value in figures.values() if value is not None)
    figures = summarise(evaluation([2797.0, 1.0], [2, 2], [1, 1]), np.array([5, 5]), None)
    assert figures["perplexity"] == pytest.approx(math.exp(699.5))


def test_a_loss_that_is_no_number_is_a_clear_error() -> None:
    for loss in (math.inf, math.nan):
        with pytest.raises(ValueError, match=r"^model: its loss must be a finite number, got .*lower learning rate"):
            summarise(evaluation([loss, 1.0], [2, 2], [1, 1]), np.array([5, 5]), None)
