"""The built-in stories as a source of documents."""

from collections.abc import Iterator
from itertools import chain
from random import Random

from lm.config.data import DataConfig
from lm.corpus.document import Corpus, Document, Split
from lm.corpus.stories.parsing import Breach, breach, parse
from lm.corpus.stories.plots import compile_stories
from lm.corpus.stories.telling import tell, total_bits

STORIES = compile_stories()

_SPLITS: tuple[Split, ...] = ("train", "valid")


def tell_stories(seed: int, split: Split, n_stories: int) -> Iterator[Document]:
    """The first stories of a split, each with its exact bits; story i depends on (seed, split, i) alone.

    Every story has a seed of its own. So the splits are separate streams, and any story can be told without the others.
    `seed` is from 0 to 2**32 - 1. One story is in memory at a time.
    """
    random = Random()
    for i in range(n_stories):
        random.seed((i << 40) | (_SPLITS.index(split) << 32) | seed)
        text, bits = tell(STORIES, random.random)
        yield Document(split, text, total_bits(bits))


def derivations(text: str) -> Iterator[float]:
    """The bits (-log2 of the probability) of each derivation of a text: our stories have one, other texts have none."""
    return map(total_bits, parse(STORIES, text))


def story_breach(text: str, *, ended: bool) -> Breach | None:
    """Where a text stops being one of our stories, or, if it was cut off before it `ended`, the beginning of one; None
    if it never does."""
    return breach(STORIES, text, ended=ended)


def open_stories(config: DataConfig, seed: int) -> Corpus:
    """The training stories, then those for validation."""
    return Corpus(
        chain(
            tell_stories(seed, "train", config.n_stories),
            tell_stories(seed, "valid", config.n_valid_stories),
        )
    )
