"""Generation from prompts that are given as text."""

from collections.abc import Iterator

from lm.config.sample import SampleConfig
from lm.generation.generate import Event, generate
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel
from lm.tokenizer.tokenizer import Tokenizer


def continue_prompts(
    model: LanguageModel, tokenizer: Tokenizer, config: SampleConfig, *, end_id: int, seed: int
) -> Iterator[Event]:
    """The events of `generate` for the prompts of the configuration.

    Each prompt starts with `end_id`, because in training too a document starts after the end of another. So even an
    empty prompt holds a token.
    """
    return generate(
        model,
        [[end_id, *tokenizer.encode(prompt)] for prompt in config.prompts],
        Sampling.of(config),
        max_new_tokens=config.max_new_tokens,
        end_id=end_id,
        seed=seed,
    )
