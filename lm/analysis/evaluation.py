"""How well a model predicts a text. It predicts every token of every document once, from the start of the document."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from lm.model.reader import Reader
from lm.model.transformer import Transformer
from lm.training.divergence import has_diverged
from lm.training.loss import chunk_bytes, cross_entropy

Ids = NDArray[np.uint16]
Floats = NDArray[np.float64]
Predictor = Transformer | Reader


@dataclass(frozen=True)
class Evaluation:
    """What was measured: arrays over documents, and loss by position in the context."""

    n_tokens: NDArray[np.int64]  # of each document, its end token included
    loss: Floats  # summed over the tokens of each document, in nats
    n_correct: NDArray[np.int64]  # tokens whose likeliest prediction was right
    position_loss: Floats  # mean over documents at each position of the context, NaN where no document is so long
    position_count: NDArray[np.int64]


class Row(NamedTuple):
    """One context to run: tokens `start` to `end` of a document. Only the tokens from `first` on are scored here."""

    document: int
    start: int
    first: int
    end: int


def rows(lengths: Sequence[int], context_length: int) -> Iterator[Row]:
    """The contexts that cover documents of these lengths.

    A document longer than the context is continued in steps of half a context, so that each of its tokens is scored
    with at least half a context of text before it.

    >>> [tuple(row) for row in rows([3, 9], 4)]
    [(0, 0, 0, 3), (1, 0, 0, 4), (1, 2, 4, 6), (1, 4, 6, 8), (1, 6, 8, 9)]
    """
    stride = context_length // 2
    for document, length in enumerate(lengths):
        yield Row(document, 0, 0, min(length, context_length))
        for start in range(stride, length - context_length + stride, stride):
            end = min(start + context_length, length)
            yield Row(document, start, start - stride + context_length, end)


def batches(ordered: Sequence[Row], n_tokens: int) -> Iterator[Sequence[Row]]:
    """Rows in batches of at most `n_tokens` positions, padding included; a longer row has a batch of its own.

    The rows stand from the longest to the shortest, so those of a batch have similar lengths.
    """
    start = 0
    while start < len(ordered):
        end = start + max(1, n_tokens // (ordered[start].end - ordered[start].start))
        yield ordered[start:end]
        start = end


@torch.no_grad()
def evaluate(
    model: Predictor,
    documents: Sequence[Ids],
    end_id: int,
    batch_size: int,
    progress: Callable[[int], object] = lambda n_tokens: None,
) -> Evaluation:
    """The losses of documents, each with its end token, in float32.

    The model reads `end_id` before each document, because in training the document before it ends with `end_id`. So the
    first token is predicted too. A batch holds as many tokens as `batch_size` contexts; it changes only the rounding.
    `progress` is called with the number of tokens that each batch has scored.
    """
    context_length, device = model.config.context_length, model.device
    n_tokens = np.array([len(document) for document in documents], dtype=np.int64)
    loss = np.zeros(len(documents))
    n_correct = np.zeros(len(documents), dtype=np.int64)
    position_loss = np.zeros(context_length)
    position_count = np.zeros(context_length, dtype=np.int64)

    ordered = sorted(
        rows([len(document) for document in documents], context_length), key=lambda row: row.start - row.end
    )
    if isinstance(model, Transformer):
        model.eval()
    for batch in batches(ordered, batch_size * context_length):
        width = max(row.end - row.start for row in batch)
        targets = np.full((len(batch), width), end_id, dtype=np.int64)
        inputs = targets.copy()
        scored = np.zeros((len(batch), width), dtype=bool)
        for place, row in enumerate(batch):
            size = row.end - row.start
            targets[place, :size] = documents[row.document][row.start : row.end]
            inputs[place, 1:size] = targets[place, : size - 1]
            if row.start > 0:
                inputs[place, 0] = documents[row.document][row.start - 1]
            scored[place, row.first - row.start : size] = True

        losses, correct = np.zeros(scored.shape), np.zeros(scored.shape, dtype=bool)
        hidden = model.hidden(torch.from_numpy(inputs).to(device))[torch.from_numpy(scored).to(device)]
        losses[scored], correct[scored] = predict(model, hidden, torch.from_numpy(targets[scored]).to(device))
        owners = [row.document for row in batch]
        np.add.at(loss, owners, losses.sum(1))
        np.add.at(n_correct, owners, correct.sum(1))
        from_start = np.array([row.start == 0 for row in batch])
        position_loss[:width] += losses[from_start].sum(0)
        position_count[:width] += scored[from_start].sum(0)
        progress(int(scored.sum()))

    with np.errstate(invalid="ignore"):  # 0 / 0 where no document is so long
        mean = np.where(position_count > 0, position_loss / position_count, np.nan)
    return Evaluation(n_tokens, loss, n_correct, mean, position_count)


def predict(
    model: Predictor, hidden: Float[Tensor, "n d_model"], targets: Int64[Tensor, " n"]
) -> tuple[Float32[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The loss of each target, and whether it was the likeliest token. The logits exist only a chunk at a time."""
    n_rows = max(1, chunk_bytes(hidden.device) // (4 * model.vocab_size))
    losses, correct = [], []
    for rows, wanted in zip(torch.split(hidden, n_rows), torch.split(targets, n_rows), strict=True):
        logits = model.logits(rows)
        losses.append(cross_entropy(logits, wanted))
        correct.append(logits.argmax(-1) == wanted)
    return torch.cat(losses).cpu().numpy(), torch.cat(correct).cpu().numpy()


def summarise(evaluation: Evaluation, n_bytes: NDArray[np.int64], floor_bits: Floats | None) -> dict[str, float | None]:
    """The figures of an evaluation.

    For each document, `n_bytes` is the size of its text without separators, and `floor_bits` is -log2 of its true
    probability; None if these are not known. Bits per byte does not depend on the tokenizer, so it can compare models
    with different vocabularies. Each standard error treats the documents as independent draws (the ratio estimator of
    survey sampling). It is None for a single document, which tells nothing of the spread.

    Perplexity is None where the model has diverged so far that no number can hold it.

    Raises:
        ValueError: when the loss is NaN or infinite.
    """
    if not math.isfinite(evaluation.loss.sum()):
        raise ValueError(
            f"model: its loss must be a finite number, got a total loss of {evaluation.loss.sum():g} for "
            f"{evaluation.n_tokens.sum()} tokens; it has diverged: train it with a lower learning rate"
        )
    loss, loss_error = ratio(evaluation.loss, evaluation.n_tokens)
    accuracy, accuracy_error = ratio(evaluation.n_correct, evaluation.n_tokens)
    bits_per_byte, bits_error = ratio(evaluation.loss / math.log(2), n_bytes)
    figures: dict[str, float | None] = {
        "loss": loss,
        "loss_standard_error": loss_error,
        "perplexity": None if has_diverged(loss) else math.exp(loss),
        "bits_per_byte": bits_per_byte,
        "bits_per_byte_standard_error": bits_error,
        "accuracy": accuracy,
        "accuracy_standard_error": accuracy_error,
        "n_documents": len(evaluation.n_tokens),
        "n_tokens": int(evaluation.n_tokens.sum()),
        "n_bytes": int(n_bytes.sum()),
    }
    if floor_bits is not None:
        figures["floor_bits_per_byte"] = floor_bits.sum() / n_bytes.sum()
        excess = evaluation.loss / math.log(2) - floor_bits
        figures["excess_bits_per_byte"], figures["excess_bits_per_byte_standard_error"] = ratio(excess, n_bytes)
    return figures


def ratio(numerators: NDArray[np.generic], denominators: NDArray[np.generic]) -> tuple[float, float | None]:
    """sum / sum, and its standard error over documents; None for a single document."""
    x, y = numerators.astype(np.float64), denominators.astype(np.float64)
    ratio = x.sum() / y.sum()
    n = len(x)
    if n < 2:
        return float(ratio), None
    variance = ((x - ratio * y) ** 2).sum() * n / (n - 1)
    return float(ratio), float(np.sqrt(variance) / y.sum())
