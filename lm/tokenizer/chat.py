"""A dialogue as tokens, and which of them the assistant has said.

Each message is the token of its role, its text, and `<|end|>`. As every document, a dialogue begins after
`<|endoftext|>`. What a message says is ordinary text, also where it looks like a special token.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from lm.config.special_tokens import CHAT_TOKENS, END_OF_TEXT, END_OF_TURN, ROLE_TOKENS
from lm.corpus.dialogue import Message, Role
from lm.tokenizer.tokenizer import Tokenizer

# The same rule as a Jinja template, which other libraries apply. It travels with the model.
CHAT_TEMPLATE = (
    END_OF_TEXT
    + "{% for message in messages %}"
    + "<|{{ message['role'] }}|>{{ message['content'] }}"
    + END_OF_TURN
    + "{% endfor %}{% if add_generation_prompt %}"
    + ROLE_TOKENS["assistant"]
    + "{% endif %}"
)


def can_chat(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer has the tokens of all roles, and the one that ends a turn."""
    return all(token in tokenizer.special_tokens for token in CHAT_TOKENS)


def message_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[list[int]]:
    """The tokens of each message, from the token of its role to that which ends the turn."""
    special = tokenizer.special_tokens
    return [
        [special[ROLE_TOKENS[message.role]], *ids, special[END_OF_TURN]]
        for message, ids in zip(
            messages, tokenizer.encode_batch([message.content for message in messages]), strict=True
        )
    ]


def opening(tokenizer: Tokenizer, role: Role) -> int:
    """The token that begins a message of a role."""
    return tokenizer.special_tokens[ROLE_TOKENS[role]]


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The tokens of a dialogue up to where the assistant shall speak."""
    said = [id for ids in message_ids(tokenizer, messages) for id in ids]
    return [tokenizer.end_id, *said, opening(tokenizer, "assistant")]


def training_ids(
    tokenizer: Tokenizer, messages: Sequence[Message]
) -> tuple[Int64[np.ndarray, " tokens"], Bool[np.ndarray, " tokens"]]:
    """The tokens of a dialogue, and which of them the assistant has drawn: its texts, and the ends of its turns."""
    ids, drawn = [tokenizer.end_id], [False]
    for message, said in zip(messages, message_ids(tokenizer, messages), strict=True):
        ids += said
        drawn += [False] + [message.role == "assistant"] * (len(said) - 1)
    return np.array(ids), np.array(drawn)
