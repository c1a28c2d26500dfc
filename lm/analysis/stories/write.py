"""Texts that a model writes from nothing, so many that a mean of them says something."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from lm.analysis.corpus.copies import copied
from lm.analysis.corpus.sample import CorpusSample
from lm.analysis.corpus.words import WordArray
from lm.generation.events import counted
from lm.generation.generate import generate
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel
from lm.generation.written import WrittenText, written_texts
from lm.tokenizer.tokenizer import Tokenizer

_AT_ONCE = 64  # texts in a batch


@dataclass(frozen=True)
class Stories:
    """What a model has written.

    Attributes:
        texts: one after another.
        ended: whether each has its own end, and was not cut off.
    """

    texts: tuple[str, ...]
    ended: tuple[bool, ...]

    @classmethod
    def of(cls, written: Iterator[WrittenText]) -> "Stories":
        """The texts in the order of their prompts."""
        ordered = sorted(written, key=lambda text: (text.index, text.sample))
        return cls(tuple(text.text for text in ordered), tuple(text.complete for text in ordered))


@dataclass(frozen=True)
class Beside:
    """What a model has written, beside the corpus that it has learned from."""

    stories: Stories
    sample: CorpusSample

    @cached_property
    def words(self) -> WordArray:
        """The words of the stories."""
        return self.sample.vocabulary.number(self.stories.texts)

    @cached_property
    def copies(self) -> Int64[np.ndarray, " n"]:
        """How many words from each word on stand in a row in the training text too."""
        return copied(self.words.ids, self.sample.train_words.ids)


def write_stories(
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    n_stories: int,
    max_new_tokens: int,
    temperature: float,
    end_id: int,
    seed: int,
    progress: Callable[[int], object] = lambda n_tokens: None,
) -> Stories:
    """So many texts, each after the end of another text, with nothing else before it. Story i depends on (seed, i).

    At temperature 1 they are drawn from the model's own distribution. Only these can be compared with validation text,
    because the model was trained to match that. `progress` is called with 1 for each token.
    """
    sampling = Sampling(temperature=temperature)
    written: list[WrittenText] = []
    for start in range(0, n_stories, _AT_ONCE):
        prompts = [""] * min(_AT_ONCE, n_stories - start)
        events = generate(
            model,
            [[end_id] for _ in prompts],
            sampling,
            max_new_tokens=max_new_tokens,
            end_id=end_id,
            seed=seed,
            first_prompt=start,
        )
        written += written_texts(tokenizer, prompts, counted(events, progress), first_prompt=start)
    return Stories.of(iter(written))
