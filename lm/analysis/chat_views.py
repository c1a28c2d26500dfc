"""The views of a chat model: how long turns are, what it answers rightly, and where its answers look."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from lm.analysis.views import Attention, Bars, Grid, Table, Topic, View, attention, numbers
from lm.corpus.dialogue import Dialogue
from lm.model.transformer import Transformer
from lm.tokenizer.chat import message_ids
from lm.tokenizer.inspection import show_token
from lm.tokenizer.tokenizer import Tokenizer

_SHARES = {
    "right_answers": "right answers",
    "words_used": "words used that were asked for",
    "stories_in_the_grammar": "stories that the grammar can tell",
    "ends_itself": "turns that the model ends itself",
}


def chat_views(
    model: Transformer, tokenizer: Tokenizer, dialogues: Sequence[Dialogue], figures: Mapping[str, Any]
) -> Topic:
    """The views of a chat model. `figures` are those of metrics/chat.json, which also has those of the base model."""
    views: list[View] = [_turns(tokenizer, dialogues), _shares(figures)]
    if figures["chat"]["right_by_kind"]:
        views.append(_by_kind(figures["chat"]["right_by_kind"]))
    shown = _shown(model, tokenizer, dialogues)
    notes = () if shown else ("No dialogue fits into the context, so no attention is shown.",)
    return Topic("chat", "Chat", [*views, *(_attention(model, tokenizer, shown) if shown else ())], notes)


def _turns(tokenizer: Tokenizer, dialogues: Sequence[Dialogue]) -> Table:
    lengths: dict[str, list[int]] = {}
    for dialogue in dialogues:
        for message, ids in zip(dialogue.messages, message_ids(tokenizer, dialogue.messages), strict=True):
            lengths.setdefault(message.role, []).append(len(ids))
    rows = [
        (role, len(each), round(float(np.mean(each)), 1), int(np.median(each)), max(each))
        for role, each in sorted(lengths.items())
    ]
    return Table(
        "Turns",
        f"Tokens of the messages in {len(dialogues)} validation dialogues, those of the role and of the end included.",
        ["role", "messages", "mean", "median", "longest"],
        rows,
    )


def _shares(figures: Mapping[str, Any]) -> Bars:
    bars = [
        (f"{said}, {name} model", figures[name][key], figures[name][f"{key}_standard_error"])
        for key, said in _SHARES.items()
        for name in ("chat", "base")
        if figures[name] is not None and figures[name][key] is not None
    ]
    return Bars(
        "What fine-tuning has bought",
        "The chat model and the base model answer what validation dialogues ask. Standard errors over dialogues.",
        "share",
        [label for label, *_ in bars],
        numbers(np.array([value for _, value, _ in bars], dtype=np.float64)),
        [error for *_, error in bars],
    )


def _by_kind(kinds: Mapping[str, Mapping[str, float | None]]) -> Bars:
    return Bars(
        "Right answers by kind of question",
        "An answer is right if it is one of those that the dialogue knows, word for word.",
        "share of right answers",
        [*kinds],
        [kind["right"] for kind in kinds.values()],
        [kind["right_standard_error"] for kind in kinds.values()],
    )


def _shown(model: Transformer, tokenizer: Tokenizer, dialogues: Sequence[Dialogue]) -> list[list[int]]:
    """The messages, as ids, of the shortest dialogue that ends with an answer to be known from what was said before."""
    graded = [d for d in dialogues if any(check.answers and check.message > 1 for check in d.checks)] or dialogues
    fitting = [ids for d in graded if sum(map(len, ids := message_ids(tokenizer, d.messages))) < _most(model)]
    return min(fitting, key=lambda ids: sum(map(len, ids)), default=[])


def _most(model: Transformer) -> int:
    return min(model.config.context_length, 384)  # a longer one would make the page too large


@torch.no_grad()
def _attention(model: Transformer, tokenizer: Tokenizer, messages: Sequence[Sequence[int]]) -> list[View]:
    ids = [tokenizer.end_id, *(id for message in messages for id in message)]
    places = np.repeat(np.arange(len(messages) + 1), [1, *map(len, messages)]) - 1
    last = len(messages) - 1
    tensor = torch.tensor([ids], device=model.device)
    weights = torch.cat(model.attention_weights(tensor)).float().cpu().numpy()
    names = ["start", *(f"message {place + 1}" for place in range(last + 1))]
    shares = np.stack([looks_at(weights, places == last, places == place) for place in range(-1, last + 1)], -1)
    return [
        Grid(
            "Where the answer looks",
            "The share of its attention that each head of the chat model gives to each message, from the tokens of the "
            "last answer, which is the last message.",
            "head",
            "message",
            "share of attention",
            [f"{layer}.{head}" for layer, head in np.ndindex(weights.shape[:2])],
            names,
            numbers(shares.reshape(-1, len(names))),
        ),
        Attention(
            "From answer to question",
            "The whole dialogue. Choose a token of the answer and see what the head reads there.",
            [show_token(tokenizer, id) for id in ids],
            attention(weights),
        ),
    ]


def looks_at(
    weights: Float[np.ndarray, "layers heads query key"],
    queries: Bool[np.ndarray, " query"],
    keys: Bool[np.ndarray, " key"],
) -> Float[np.ndarray, "layers heads"]:
    """The share of their attention that some tokens give to others, as a mean over the first."""
    share: Float[np.ndarray, "layers heads"] = weights[:, :, queries][..., keys].sum(-1).mean(-1)
    return share
