"""How well a chat model answers: it is asked what the validation dialogues ask, and graded by what is known of them."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lm.analysis.evaluation import Predictor, predict, ratio
from lm.analysis.texts import repetition, words
from lm.corpus.dialogue import Check, Dialogue
from lm.corpus.stories import derivations
from lm.generation.conversation import Prompt, answer_text, fitted_prompt, reply
from lm.generation.events import End, Event
from lm.generation.sampling import Sampling
from lm.generation.session import LanguageModel
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.dialogues import Encoded

STORY = "story"  # the kind of check whose answer must be a story of the grammar


@dataclass(frozen=True)
class Answer:
    """What the model says where the assistant has spoken: after the true messages before.

    Attributes:
        dialogue: the number of the dialogue.
        message: the place of the true answer among its messages.
        text: what the model says.
        ended: whether it ended its turn itself.
    """

    dialogue: int
    message: int
    text: str
    ended: bool


def answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    dialogues: Sequence[Dialogue],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    progress: Callable[[int], object] = lambda n_answers: None,
) -> list[Answer]:
    """The model's answer at each place where the assistant speaks, `batch_size` of them at once.

    A place whose last message does not fit into the context has no answer.
    """
    asked: list[tuple[int, int, Prompt]] = []
    for number, dialogue in enumerate(dialogues):
        for place, message in enumerate(dialogue.messages):
            if message.role == "assistant":
                try:
                    prompt = fitted_prompt(tokenizer, dialogue.messages[:place], model.config.context_length)
                except ValueError:
                    continue
                asked.append((number, place, prompt))
    given = []
    for start in range(0, len(asked), batch_size):
        part = asked[start : start + batch_size]
        events = reply(
            model,
            tokenizer,
            [prompt for *_, prompt in part],
            sampling,
            max_new_tokens=max_new_tokens,
            seed=seed + start,
        )
        by_row: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            by_row[event.row].append(event)
            if isinstance(event, End):
                progress(1)
        for row, (number, place, _) in enumerate(part):
            *_, end = by_row[row]
            assert isinstance(end, End)
            given.append(Answer(number, place, "".join(answer_text(tokenizer, by_row[row])), end.complete))
    return given


def is_right(check: Check, text: str) -> bool:
    """Whether an answer is right. A story must be one of the grammar, word for word."""
    if check.kind == STORY:
        return next(derivations(text), None) is not None
    return text in check.answers


def uses_words(check: Check, text: str) -> list[bool]:
    """For each word that was asked for, whether the answer uses it, whatever its case."""
    return [re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None for word in check.words]


def grade(dialogues: Sequence[Dialogue], given: Iterable[Answer]) -> dict[str, Any]:
    """The figures of answers, each a share with its standard error; None where no dialogue knows what is right.

    The dialogues are the independent draws: answers within one of them are not independent of each other.
    """
    ended, right, in_grammar, used, repeated = (_Share() for _ in range(5))
    by_kind: dict[str, _Share] = defaultdict(_Share)
    n_answers = 0
    for answer in given:
        n_answers += 1
        ended.add(answer.dialogue, answer.ended)
        if (share := repetition(words(answer.text), 4)) is not None:
            repeated.add(answer.dialogue, share)
        for check in dialogues[answer.dialogue].checks:
            if check.message != answer.message:
                continue
            if check.kind == STORY:
                in_grammar.add(answer.dialogue, is_right(check, answer.text))
            elif check.answers:  # without, only its words are known
                right.add(answer.dialogue, is_right(check, answer.text))
                by_kind[check.kind].add(answer.dialogue, is_right(check, answer.text))
            for is_used in uses_words(check, answer.text):
                used.add(answer.dialogue, is_used)
    shares = {
        "right_answers": right,
        "words_used": used,
        "stories_in_the_grammar": in_grammar,
        "ends_itself": ended,
        "repetition_4": repeated,
    }
    return {
        "n_answers": n_answers,
        **{key: value for name, share in shares.items() for key, value in share.figures(name).items()},
        "right_by_kind": {kind: by_kind[kind].figures("right") for kind in sorted(by_kind)},
    }


class _Share:
    """Values of several dialogues, and their mean."""

    def __init__(self) -> None:
        self._values: dict[int, list[float]] = defaultdict(list)

    def add(self, dialogue: int, value: float) -> None:
        self._values[dialogue].append(float(value))

    def figures(self, name: str) -> dict[str, float | None]:
        """The mean under this name, with its standard error over dialogues."""
        if not self._values:
            return {name: None, f"{name}_standard_error": None}
        mean, error = ratio(
            np.array([sum(values) for values in self._values.values()]),
            np.array([len(values) for values in self._values.values()]),
        )
        return {name: mean, f"{name}_standard_error": error}


@torch.no_grad()
def loss_of_answers(
    model: Predictor,
    encoded: Sequence[Encoded],
    n_bytes: NDArray[np.int64],
    batch_size: int,
    progress: Callable[[int], object] = lambda n_dialogues: None,
) -> dict[str, float | None]:
    """Loss and bits per byte of what the assistant says, the ends of its turns included, with standard errors.

    `n_bytes` is the size of the answers of each dialogue. In a batch are `batch_size` dialogues of like length.
    """
    loss, n_tokens = np.zeros(len(encoded)), np.zeros(len(encoded), np.int64)
    order = sorted(range(len(encoded)), key=lambda place: -len(encoded[place].ids))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        width = len(encoded[places[0]].ids)
        ids = np.zeros((len(places), width), np.int64)
        weights = np.zeros((len(places), width), bool)
        for row, place in enumerate(places):
            ids[row, : len(encoded[place].ids)] = encoded[place].ids
            weights[row, : len(encoded[place].ids)] = encoded[place].weights > 0
        scored, targets = weights[:, 1:], ids[:, 1:]
        hidden = model.hidden(torch.from_numpy(ids[:, :-1].copy()).to(model.device))
        losses = np.zeros(scored.shape)
        losses[scored], _ = predict(
            model, hidden[torch.from_numpy(scored).to(model.device)], torch.from_numpy(targets[scored]).to(model.device)
        )
        loss[places], n_tokens[places] = losses.sum(1), scored.sum(1)
        progress(len(places))
    if not math.isfinite(loss.sum()):
        raise ValueError(f"model: its loss on the answers must be a finite number, got {loss.sum():g}")
    mean, error = ratio(loss, n_tokens)
    bits, bits_error = ratio(loss / math.log(2), n_bytes)
    return {
        "loss": mean,
        "loss_standard_error": error,
        "bits_per_byte": bits,
        "bits_per_byte_standard_error": bits_error,
        "n_dialogues": len(encoded),
        "n_tokens": int(n_tokens.sum()),
    }


def as_json(dialogues: Sequence[Dialogue], given: Iterable[Answer]) -> list[dict[str, Any]]:
    """Each dialogue as it is, and the model's answers: what it says in the place of each message of the assistant."""
    of: dict[int, list[Answer]] = defaultdict(list)
    for answer in given:
        of[answer.dialogue].append(answer)
    return [
        dialogue.as_json()
        | {"answers": [{"message": one.message, "text": one.text, "ended": one.ended} for one in of[number]]}
        for number, dialogue in enumerate(dialogues)
    ]


def as_markdown(dialogues: Sequence[Dialogue], given: Sequence[Answer], title: str) -> str:
    """The dialogues to read, the model's answer beside the true one where they differ."""
    said = {(answer.dialogue, answer.message): answer for answer in given}
    lines = [f"# {title}", "", "Each answer of the model follows the true messages before it."]
    for number, dialogue in enumerate(dialogues):
        lines += ["", f"## Dialogue {number + 1}"]
        for place, message in enumerate(dialogue.messages):
            lines += ["", *_quoted(f"**{message.role}**: {message.content}")]
            answer = said.get((number, place))
            if answer is None:
                continue
            if answer.text == message.content:
                lines += ["", "The model says the same."]
            else:
                lines += ["", "The model says:", "", *_quoted(answer.text + ("" if answer.ended else " …"), "> > ")]
    return "\n".join(lines) + "\n"


def _quoted(text: str, mark: str = "> ") -> list[str]:
    return [f"{mark}{line}".rstrip() for line in text.split("\n")]
