"""Text generation: several prompts are continued at once, and each token is given as soon as it is drawn."""

from collections.abc import Iterator, Sequence

from lm.generation.batch import Batch, Text, random_stream
from lm.generation.constraints import Rules
from lm.generation.context import Turns
from lm.generation.events import End, Event
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    seed: int,
    samples: int = 1,
    rules: Rules | None = None,
    never: Sequence[int] = (),
    logprobs: int | None = None,
    first_prompt: int = 0,
    turns: Sequence[Turns] | None = None,
) -> Iterator[Event]:
    """The tokens that follow each prompt as they are drawn, and the end of each text.

    There are `samples` texts for each prompt: the row of a text is prompt * samples + sample. A text ends when the
    model draws `end_id`, which is not yielded, when a stop string of the rules is complete, after `max_new_tokens`, or
    when the rules and `sampling.no_repeat_ngram` allow no token to follow. The tokens in `never` are never drawn. With
    `logprobs`, a token has the logarithm of its probability, and so many of the likeliest tokens in its place.

    Each prompt is read once, in one pass. Then all texts advance together, and those that have ended leave. When the
    context is full, its older half is dropped and the rest is read again; with `turns`, those of each prompt, its
    oldest turns are (`ids_in_context`). A prompt longer than the context loses the same tokens that a growing text
    would have lost. Each text has its own random stream, which depends on the seed, the
    number of the prompt and that of the sample. Prompts are numbered from `first_prompt` on. So no text depends on the
    others, as `Batch` says.
    """
    texts = texts_to_write(
        prompts,
        sampling,
        max_new_tokens=max_new_tokens,
        end_id=end_id,
        seed=seed,
        samples=samples,
        rules=rules,
        never=never,
        logprobs=logprobs,
        first_prompt=first_prompt,
        turns=turns,
    )
    if max_new_tokens == 0:
        yield from (End(text.row, "length") for text in texts)
        return
    batch = Batch(model)
    batch.join(texts)
    while batch.texts:
        yield from batch.step()


def texts_to_write(
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    end_id: int,
    seed: int,
    samples: int = 1,
    rules: Rules | None = None,
    never: Sequence[int] = (),
    logprobs: int | None = None,
    first_prompt: int = 0,
    turns: Sequence[Turns] | None = None,
) -> list[Text]:
    """The texts of `generate`, as they stand before their first new token."""
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    return [
        Text(
            prompt * samples + sample,
            list(ids),
            len(ids),
            max_new_tokens,
            end_id,
            random_stream(seed, first_prompt + prompt, sample),
            sampling,
            rules,
            rules.start(ids) if rules else None,
            tuple(never),
            logprobs,
            turns[prompt] if turns else None,
        )
        for prompt, ids in enumerate(prompts)
        for sample in range(samples)
    ]
