"""Prompts in words, continued."""

from collections.abc import Callable

from lm.config.sample import SampleConfig
from lm.generation.generate import LanguageModel, generate
from lm.tokenizer.tokenizer import Tokenizer


def continue_prompts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    config: SampleConfig,
    *,
    end_id: int,
    seed: int,
    progress: Callable[[int], object],
) -> list[list[int]]:
    """The ids that follow each prompt of the configuration, as `generate` gives them.

    A document starts after the end of another, in training too; so even an empty prompt holds a token.
    """
    return generate(
        model,
        [[end_id, *tokenizer.encode(prompt)] for prompt in config.prompts],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        end_id=end_id,
        seed=seed,
        progress=progress,
    )
