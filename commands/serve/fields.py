"""The fields of a request, as OpenAI's API has them.

https://platform.openai.com/docs/api-reference/chat/create and /completions/create. As there, null is as good as no
value, and an unknown field is an error. A field that asks for something that we cannot do is an error too, unless its
value asks for nothing. Beyond the API, the other fields of `Sampling` are known: `top_k`, `min_p`, `typical_p`,
`repetition_penalty`.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from commands.serve.errors import ApiError
from lm.corpus.dialogue import Message
from lm.generation.sampling import Sampling

MOST_STOPS, LONGEST_STOP = 4, 256  # as in the API; characters

# Fields of the API that ask for something that we cannot do, with the values that ask for nothing.
_CANNOT: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}
# Fields that only name the request for somebody else's books.
_NAMES = ("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "user")


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(_Fields):
    """How an answer is streamed."""

    include_usage: bool = False
    include_obfuscation: bool = False


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stops = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]],
    BeforeValidator(_as_list),
    Field(max_length=MOST_STOPS),
]


class TextFields(_Fields):
    """What chat and completions have in common.

    Attributes:
        n: how many texts for each prompt.
        seed: decides what is drawn; None: nobody knows.
    """

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    n: Annotated[int, Field(ge=1)] = 1
    stop: Stops = []
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        names = "temperature", "top_k", "min_p", "typical_p", "repetition_penalty"
        penalties = "frequency_penalty", "presence_penalty"
        values = {name: getattr(self, name) for name in (*names, *penalties)}
        # A top_p of 0 is allowed by the API. The likeliest token alone has at least this probability.
        return Sampling(**values, top_p=None if self.top_p == 1 else max(self.top_p, 1e-9))

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The fields in the body of a request.

        Raises:
            ApiError: with the first thing that is wrong.
        """
        try:
            values = json.loads(body, parse_constant=_no_number)
            json.dumps(values, ensure_ascii=False).encode()  # JSON can hold half of a character, text cannot
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body must be JSON: {error}") from None
        if not isinstance(values, dict):
            raise ApiError(400, "the body must be a JSON object")
        values = {name: value for name, value in values.items() if value is not None and name not in _NAMES}
        for name, harmless in _CANNOT.items():
            if name in values and not any(_same(value, values[name]) for value in harmless):
                raise ApiError(400, f"{name}: this server cannot do that", name, "unsupported_parameter")
            values.pop(name, None)
        try:
            fields = cls.model_validate(values)
        except ValidationError as error:
            raise _explained(error.errors(include_url=False)[0]) from None
        if fields.stream_options and not fields.stream:
            raise ApiError(400, "stream_options: only allowed when stream is true", "stream_options")
        return fields


class Part(_Fields):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(_Fields):
    """A message of a dialogue."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def message(self) -> Message:
        """The message as the model knows it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


def _without_nulls(message: Any) -> Any:
    """A message as a client sends it back: it has null or nothing where an answer could have had more."""
    if not isinstance(message, dict):
        return message
    return {name: value for name, value in message.items() if value is not None and (name == "content" or value != [])}


class ChatFields(TextFields):
    """A request for the next message of a dialogue."""

    messages: Annotated[list[Annotated[ChatMessage, BeforeValidator(_without_nulls)]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0


class CompletionFields(TextFields):
    """A request for the continuation of texts."""

    prompt: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] = [""]
    max_tokens: Annotated[int, Field(ge=1)] = 16
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _explained(mistake: Any) -> ApiError:
    """The error for one mistake that Pydantic has found."""
    # Beside fields and places in a list, Pydantic names the types that it has tried.
    parts = [part for part in mistake["loc"] if isinstance(part, int) or (part != "str" and "[" not in part)]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:100]}" for part in parts).removeprefix(".")
    match mistake["type"]:
        case "extra_forbidden":
            return ApiError(400, f"{place}: unrecognized request argument", place, "unknown_parameter")
        case "missing":
            return ApiError(400, f"{place}: missing", place, "missing_required_parameter")
        case _:
            rule = re.sub(r"^(Input|List|String) should", "must", mistake["msg"]).split(" after validation")[0]
            return ApiError(400, f"{place}: {rule}", place, "invalid_value")
