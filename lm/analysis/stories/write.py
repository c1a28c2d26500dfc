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
    """What a model has written, beside the corpus that it has learned from.

    Attributes:
        first_part: what of a document the model could have written before it had to stop, and whether that is all.
    """

    stories: Stories
    sample: CorpusSample
    first_part: Callable[[str], tuple[str, bool]] = lambda text: (text, True)

    @cached_property
    def others(self) -> Stories:
        """Validation documents, which are cut where the model would have had to stop: so lengths are alike."""
        texts, documents = self.sample.compared_texts, self.sample.valid
        parts = [self.first_part(text) for text in texts]
        ended = [
            fits and text == all_of_it for (_, fits), text, all_of_it in zip(parts, texts, documents, strict=False)
        ]
        return Stories(tuple(text for text, _ in parts), tuple(ended))

    @cached_property
    def other_words(self) -> WordArray:
        """The words of `others`."""
        return self.sample.vocabulary.number(self.others.texts)

    @cached_property
    def other_copies(self) -> Int64[np.ndarray, " n"]:
        """The same as `copies`, of `others`."""
        if all(self.others.ended):
            return self.sample.compared_copies  # which the views of the corpus need too
        return copied(self.other_words.ids, self.sample.train_words.ids)

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


def first_part(tokenizer: Tokenizer, text: str, max_new_tokens: int) -> tuple[str, bool]:
    """What of a text can be written in so many tokens, of which its end is one, and whether that is all of it."""
    ids = tokenizer.encode(text)
    whole = len(ids) < max_new_tokens
    return text if whole else tokenizer.decode(ids[:max_new_tokens]), whole
