"""Generation from prompts that are given as text."""

from collections.abc import Iterable, Iterator, Sequence

from lm.config.sample import SampleConfig
from lm.generation.beams import Beams, beam_search
from lm.generation.constraints import Constraints, Rules
from lm.generation.contrastive import Contrastive, contrastive_search
from lm.generation.events import End, Event
from lm.generation.generate import generate
from lm.generation.phrases import UpToStop
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel
from lm.tokenizer.tokenizer import Tokenizer


def continue_prompts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    config: SampleConfig,
    *,
    end_id: int,
    seed: int,
    logprobs: int | None = None,
    special: bool = False,
    first_prompt: int = 0,
) -> Iterator[Event]:
    """The events of the texts that the configuration asks for; the row of a text is prompt times `samples` plus sample.

    Each prompt starts with `end_id`, because in training too a document starts after the end of another. So even an
    empty prompt holds a token. With `special`, special tokens in a prompt are tokens, not plain text. `first_prompt` is
    the number of the first prompt if these are some of many: each is continued as it would be among all of them.

    Raises:
        ValueError: when no text can fulfil the constraints.
    """
    prompts = [[end_id, *ids] for ids in tokenizer.encode_batch(config.prompts, allow_special=special)]
    sampling, constraints = Sampling.of(config), Constraints.of(config)
    rules = Rules(constraints, tokenizer, max_new_tokens=config.max_new_tokens) if constraints else None
    if config.beams > 1:
        return beam_search(
            model,
            prompts,
            Beams.of(config),
            sampling,
            max_new_tokens=config.max_new_tokens,
            end_id=end_id,
            n_best=config.samples,
            rules=rules,
            logprobs=logprobs,
        )
    if config.penalty_alpha is not None:
        return contrastive_search(
            model,
            prompts,
            Contrastive.of(config),
            sampling,
            max_new_tokens=config.max_new_tokens,
            end_id=end_id,
            rules=rules,
            logprobs=logprobs,
        )
    return generate(
        model,
        prompts,
        sampling,
        max_new_tokens=config.max_new_tokens,
        end_id=end_id,
        seed=seed,
        samples=config.samples,
        rules=rules,
        logprobs=logprobs,
        first_prompt=first_prompt,
    )


class GrowingText:
    """The text of one row, in pieces, as soon as each character is whole.

    If `max_new_tokens` cuts the text off within a character, that character is left out. The text ends before the first
    string in `stop`, so what may become one is held back.
    """

    def __init__(self, tokenizer: Tokenizer, after: Sequence[int], stop: Sequence[str] = ()) -> None:
        """Args: how ids become text; the ids before this text; where it stops."""
        self._decoding, self._shown = tokenizer.decoding(after=after), UpToStop(stop)

    def add(self, event: Event) -> str:
        """What the text has more after this event."""
        if isinstance(event, End):
            return self._shown.add(self._decoding.rest(cut_off=not event.complete), is_last=True)
        return self._shown.add(self._decoding.add(event.id))


def continuation(
    tokenizer: Tokenizer, prompt: str, events: Iterable[Event], stop: Sequence[str] = (), *, special: bool = False
) -> Iterator[str]:
    """The text of one row's events, in pieces: what follows the prompt."""
    return map(GrowingText(tokenizer, tokenizer.encode(prompt, allow_special=special), stop).add, events)


def continuations(
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    events: Iterable[Event],
    stop: Sequence[str] = (),
    *,
    special: bool = False,
) -> list[str]:
    """The whole text that follows each prompt."""
    by_row: list[list[Event]] = [[] for _ in prompts]
    for event in events:
        by_row[event.row].append(event)
    return [
        "".join(continuation(tokenizer, *of_row, stop, special=special)) for of_row in zip(prompts, by_row, strict=True)
    ]
