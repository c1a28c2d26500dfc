"""Text generation: several prompts at once, with a key/value cache."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.generation.strategies import distribution, draw


@runtime_checkable  # so that the tests can check arguments
class Reader(Protocol):
    """A model that reads some texts side by side, and remembers what it has read."""

    @property
    def length(self) -> int:
        """How many positions have been read."""

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Read on, ids of shape (batch, seq); the logits of the tokens that follow, (batch, vocab)."""


@runtime_checkable
class LanguageModel(Protocol):
    """What generation asks of a model, in PyTorch or in NumPy."""

    config: ModelConfig

    def reader(self, batch_size: int) -> Reader:
        """A reader of as many texts, at the start of the context."""


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    end_id: int,
    seed: int,
    progress: Callable[[int], object] = lambda n_tokens: None,
) -> list[list[int]]:
    """The ids that follow each prompt, up to `end_id` (not included) or `max_new_tokens`.

    All prompts begin at position 0 and advance together: while a longer prompt lasts, its own tokens are taken instead
    of drawn ones, so nothing is padded. Each row has a random stream of its own, a function of the seed and its place.
    When the context is full, the older half of it is dropped and the rest read again; a longer prompt is cut where that
    would have cut it, so that no row depends on those beside it. `progress` is called with 1 after each position.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    context_length = model.config.context_length
    streams = [np.random.Generator(np.random.Philox(key=[seed, row])) for row in range(len(prompts))]
    texts = [list(prompt) for prompt in prompts]
    goals = [len(prompt) + max_new_tokens for prompt in prompts]
    finished = np.zeros(len(prompts), dtype=bool)
    # All rows hold `length` tokens, of which the model has read all but `unread`.
    length = min(len(prompt) for prompt in prompts)
    dropped = context_length + 1 - (context_length + 1) // 2  # tokens, each time that one more would not fit
    rows = np.array([text[:length] for text in texts], dtype=np.int64)
    reader: Reader | None = None
    while not finished.all():
        if reader is None or reader.length == context_length:
            reader = model.reader(len(prompts))
            unread = rows[:, dropped * max(0, math.ceil((length - context_length) / dropped)) :]
        else:
            unread = rows[:, -1:]
        probabilities = distribution(reader.read(unread).astype(np.float64), temperature, top_k, top_p)
        forced = [length < len(prompt) for prompt in prompts]
        uniform = np.array([0.0 if given else stream.random() for given, stream in zip(forced, streams, strict=True)])
        drawn = draw(probabilities, uniform)
        for row, text in enumerate(texts):
            if forced[row]:
                drawn[row] = prompts[row][length]
            elif not finished[row]:
                finished[row] = drawn[row] == end_id
                if not finished[row]:
                    text.append(int(drawn[row]))
                    finished[row] = len(text) == goals[row]
        rows = np.concatenate([rows, drawn[:, None]], axis=1)
        length += 1
        progress(1)
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
