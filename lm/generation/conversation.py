"""A conversation with a chat model: what of it fits into the context, and what the model answers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lm.config.special_tokens import END_OF_TURN
from lm.corpus.dialogue import Message
from lm.generation.context import Turns
from lm.generation.events import Event
from lm.generation.generate import generate
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel
from lm.generation.texts import GrowingText
from lm.tokenizer.chat import message_ids, opening
from lm.tokenizer.tokenizer import Tokenizer

_SHORTEST = 3  # tokens of a message: of its role, of its text, and of its end


class Prompt(NamedTuple):
    """The tokens that the model reads before it answers.

    Attributes:
        ids: the tokens.
        n_dropped: how many of the oldest messages did not fit.
        turns: where it can be shortened when the answer is long.
    """

    ids: list[int]
    n_dropped: int
    turns: Turns


def fitted_prompt(tokenizer: Tokenizer, messages: Sequence[Message], context_length: int) -> Prompt:
    """The newest messages that fit into the context, with a sixteenth of it left for the answer.

    A system message at the beginning stays. The oldest turns go, each with its answer, so that what is left begins with
    the user. When an answer needs more room, more of the oldest turns go.

    Raises:
        ValueError: when not even the last message fits, or the system message leaves no room for one.
    """
    room = context_length // 16
    said = message_ids(tokenizer, messages)
    n_system = int(bool(messages) and messages[0].role == "system")
    start, limit = n_system, context_length - room

    def length(start: int) -> int:
        return 2 + sum(map(len, [*said[:n_system], *said[start:]]))  # 2: the end before it, and the assistant's token

    while length(start) > limit and start < len(messages) - 1:
        start += 1
        while start < len(messages) - 1 and messages[start].role == "assistant":
            start += 1
    if n_system and length(len(messages)) + _SHORTEST > limit:
        raise ValueError(
            f"system message: must have at most {limit - 2 - _SHORTEST} tokens, so that a message and an answer fit "
            f"beside it into the context of {context_length}, got {len(said[0])}"
        )
    if length(start) > limit:
        raise ValueError(
            f"message: must have at most {limit - length(len(messages))} tokens, so that it fits into the context of "
            f"{context_length} with {room} for an answer, got {length(start) - length(len(messages))}"
        )
    ids = [tokenizer.end_id, *(id for part in said[:n_system] for id in part)]
    n_stay, starts = len(ids), []
    for message, its_ids in zip(messages[start:], said[start:], strict=True):
        if message.role == "user":
            starts.append(len(ids))
        ids += its_ids
    return Prompt([*ids, opening(tokenizer, "assistant")], start - n_system, Turns(n_stay, tuple(starts)))


def reply(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    seed: int,
    logprobs: int | None = None,
) -> Iterator[Event]:
    """The events of an answer to each prompt, as those of `generate`: it ends with the turn.

    Special tokens are never drawn, except the one that ends the turn.
    """
    return generate(
        model,
        [prompt.ids for prompt in prompts],
        sampling,
        max_new_tokens=max_new_tokens,
        end_id=end_of_turn(tokenizer),
        never=never_said(tokenizer),
        seed=seed,
        logprobs=logprobs,
        turns=[prompt.turns for prompt in prompts],
    )


def never_said(tokenizer: Tokenizer) -> list[int]:
    """The tokens that no answer holds: all special ones but the end of a turn."""
    return sorted(id for token, id in tokenizer.special_tokens.items() if token != END_OF_TURN)


def end_of_turn(tokenizer: Tokenizer) -> int:
    """The token that ends an answer."""
    return tokenizer.special_tokens[END_OF_TURN]


def answer_text(tokenizer: Tokenizer, events: Iterable[Event]) -> Iterator[str]:
    """The text of one row's events in pieces, as soon as each character is whole.

    If `max_new_tokens` cut the text off within a character, that character is left out.
    """
    return map(GrowingText(tokenizer, after=()).add, events)
