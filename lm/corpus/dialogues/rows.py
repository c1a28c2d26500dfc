"""A row of a file or a dataset as a dialogue, whichever of the usual forms it has.

- messages: `{"messages": [{"role": "user", "content": "Hi!"}, ...]}`, as OpenAI has them;
- conversations: `{"conversations": [{"from": "human", "value": "Hi!"}, ...]}`, as ShareGPT has them;
- a bare list of messages, as nanochat has it;
- a pair: a prompt and its response under one of the names in `PAIRS`, perhaps with more beside them: text that belongs
  to the prompt, earlier pairs under `history`, a system message.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from lm.corpus.dialogue import Check, Dialogue, Message, Role
from lm.corpus.readers import short

# The spellings of roles, in lower case.
ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "agent"), "assistant"),
}


class Pair(NamedTuple):
    """Names under which a prompt and its response stand, and what may belong to the prompt."""

    prompt: str
    response: str
    more: tuple[str, ...] = ()


PAIRS = (  # the first whose two names a row has
    Pair("prompt", "response"),
    Pair("prompt", "completion"),
    Pair("instruction", "output", more=("input",)),
    Pair("instruction", "response", more=("context", "input")),
    Pair("question", "answer"),
    Pair("question", "response"),
    Pair("query", "response"),
    Pair("user", "assistant"),
    Pair("input", "output"),
)
LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog")
SYSTEM = ("system", "system_prompt")
TEXTS = ("text", "input_text", "output_text")  # types of a part of a content, as OpenAI's two APIs call them
FORMS = "a list of messages, 'messages', 'conversations', or a pair such as 'prompt' and 'response'"


def dialogue_of(row: object, place: str, counts: Counter[str] | None = None) -> Dialogue:
    """The dialogue of a row: an optional system message, then user and assistant in turn, the assistant last.

    Messages of one role in a row become one, with a blank line between them. Messages of the user at the end, which
    nobody answers, are left out. `counts` is told of both as `n_joined_messages` and `n_unanswered_messages`. A row may
    have `checks` beside its messages, as `Dialogue` has them; then nothing must be joined or left out.

    Raises:
        ValueError: `place: rule, got value` for a row that is no dialogue.
    """
    said = list(_messages(row, place))
    messages: list[Message] = []
    for message in said:
        if messages and messages[-1].role == message.role:
            messages[-1] = Message(message.role, f"{messages[-1].content}\n\n{message.content}")
        else:
            messages.append(message)
    n_joined = len(said) - len(messages)
    _check_roles(messages, place)
    if n_unanswered := int(messages[-1].role == "user"):
        del messages[-1]
    checks = [_check(check, messages, place) for check in _list(row, "checks", place)]
    if checks and n_joined + n_unanswered:
        got = ", ".join(message.role for message in said)
        raise ValueError(f"{place}: with checks, user and assistant must speak in turn, got the roles {got}")
    if counts is not None:
        counts.update(n_joined_messages=n_joined, n_unanswered_messages=n_unanswered)
    return Dialogue(tuple(messages), tuple(checks))


def _check_roles(messages: Sequence[Message], place: str) -> None:
    roles = [message.role for message in messages]
    got = f"got the roles {', '.join(roles) or 'nothing'}"
    if "system" in roles[1:]:
        raise ValueError(f"{place}: a system message must come first, {got}")
    if "assistant" not in roles:
        raise ValueError(f"{place}: must have a message of the assistant, {got}")
    if roles[0] == "assistant" or roles[:2] == ["system", "assistant"]:
        raise ValueError(f"{place}: the user must speak before the assistant, {got}")


def _list(row: object, name: str, place: str) -> list[Any]:
    """The list that stands under a name, empty if there is none."""
    found = row.get(name) if isinstance(row, dict) else None
    if not isinstance(found, list | None):
        raise ValueError(f"{place}: {name} must be a list, got {short(found)}")
    return found or []


def _messages(row: object, place: str) -> Iterator[Message]:
    """The messages of a row as they stand there."""
    if isinstance(row, list):
        yield from _listed(row, place)
        return
    if not isinstance(row, dict):
        raise ValueError(f"{place}: must be a dialogue: {FORMS}, got {short(row)}")
    system = next((row[name] for name in SYSTEM if row.get(name)), None)
    name = next((name for name in LISTS if row.get(name) is not None), None)
    if name is not None:
        if system is not None:
            yield Message("system", _text(system, f"{place}: system"))
        yield from _listed(row[name], f"{place}: {name}")
        return
    pair = next(
        (pair for pair in PAIRS if row.get(pair.prompt) is not None and row.get(pair.response) is not None), None
    )
    if pair is None:
        raise ValueError(f"{place}: must be a dialogue: {FORMS}, got the names {', '.join(map(str, row)) or 'nothing'}")
    if system is not None:
        yield Message("system", _text(system, f"{place}: system"))
    yield from _paired(row, pair, place)


def _listed(messages: object, place: str) -> Iterator[Message]:
    if not isinstance(messages, list):
        raise ValueError(f"{place} must be a list of messages, got {short(messages)}")
    for number, message in enumerate(messages):
        at = f"{place}: message {number}"
        fields = message if isinstance(message, dict) else {}
        role = next((fields[name] for name in ("role", "from", "speaker") if fields.get(name) is not None), None)
        content = next((fields[name] for name in ("content", "value", "text") if fields.get(name) is not None), None)
        if role is None or content is None:
            raise ValueError(f"{at} must have 'role' and 'content', or 'from' and 'value', got {short(message)}")
        known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
        if known is None:
            raise ValueError(f"{at}: the role must be one of {', '.join(ROLES)}, got {short(role)}")
        if fields.get("weight") not in (None, 1):
            raise ValueError(
                f"{at}: the weight must be 1, because each answer is learnt, got {short(fields['weight'])}"
            )
        if known == "system" and not content:
            continue  # as good as none
        yield Message(known, _text(content, at))


def _paired(row: Mapping[str, Any], pair: Pair, place: str) -> Iterator[Message]:
    for number, earlier in enumerate(_list(row, "history", place)):
        if not isinstance(earlier, list | tuple) or len(earlier) != 2:
            raise ValueError(f"{place}: history {number} must be a prompt and a response, got {short(earlier)}")
        yield Message("user", _text(earlier[0], f"{place}: history {number}"))
        yield Message("assistant", _text(earlier[1], f"{place}: history {number}"))
    for name, role in ((pair.prompt, "user"), (pair.response, "assistant")):
        if isinstance(row[name], list) and any(isinstance(part, dict) and "role" in part for part in row[name]):
            yield from _listed(row[name], f"{place}: {name}")
            continue
        text = _text(row[name], f"{place}: {name}")
        for more in pair.more if role == "user" else ():
            if row.get(more):
                text += f"\n\n{_text(row[more], f'{place}: {more}')}"
        yield Message(cast(Role, role), text)


def _text(content: object, place: str) -> str:
    """The text of a content: a string, or a list of parts that are all text."""
    parts = content if isinstance(content, list) else [content]
    text = ""
    for part in parts:
        said = part.get("text") if isinstance(part, dict) and part.get("type", "text") in TEXTS else part
        if not isinstance(said, str):
            raise ValueError(f"{place} must be a text, or a list of texts, got {short(content)}")
        text += said
    text = text.encode(errors="replace").decode().strip()  # JSON can hold half a character
    if not text:
        raise ValueError(f"{place} must not be blank, got {short(content)}")
    return text


def _check(check: object, messages: Sequence[Message], place: str) -> Check:
    """A check of a row, as `Dialogue.as_json` writes it."""
    fields = check if isinstance(check, dict) else {}
    message, kind = fields.get("message"), fields.get("kind")
    lists = [fields.get(name) or [] for name in ("answers", "words")]
    are_texts = all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists)
    if type(message) is not int or not isinstance(kind, str) or not are_texts:
        rule = "a check must have the number of a 'message', a 'kind', and lists of texts as 'answers' and 'words'"
        raise ValueError(f"{place}: {rule}, got {short(check)}")
    if not 0 <= message < len(messages) or messages[message].role != "assistant":
        raise ValueError(f"{place}: a check must be of a message of the assistant, got the message {message}")
    return Check(message, kind, tuple(lists[0]), tuple(lists[1]))
