"""Generation from prompts that are given as text."""

from collections.abc import Iterable, Iterator, Sequence

from lm.config.sample import SampleConfig
from lm.generation.events import Event, Token
from lm.generation.generate import generate
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


def continuation(tokenizer: Tokenizer, prompt: str, events: Iterable[Event]) -> Iterator[str]:
    """The text of one row's events, in pieces, as soon as each character is whole: what follows the prompt.

    If `max_new_tokens` cut the text off within a character, that character is left out.
    """
    decoding = tokenizer.decoding(after=tokenizer.encode(prompt))
    for event in events:
        yield decoding.add(event.id) if isinstance(event, Token) else decoding.rest(cut_off=not event.complete)


def continuations(tokenizer: Tokenizer, prompts: Sequence[str], events: Iterable[Event]) -> list[str]:
    """The whole text that follows each prompt."""
    by_row: list[list[Event]] = [[] for _ in prompts]
    for event in events:
        by_row[event.row].append(event)
    return ["".join(continuation(tokenizer, *of_row)) for of_row in zip(prompts, by_row, strict=True)]
