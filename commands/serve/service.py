"""What the server answers: a request as texts that the engine shall write, and what becomes of them."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from commands.serve.answers import Choice, Form, Kind, Piece, joined
from commands.serve.errors import ApiError
from commands.serve.fields import ChatFields, CompletionFields, TextFields
from lm.generation.batch import Text
from lm.generation.constraints import Constraints, Rules
from lm.generation.context import Turns, start_of_context
from lm.generation.conversation import end_of_turn, fitted_prompt, never_said
from lm.generation.engine import ClosedError, Engine, FullError, Job
from lm.generation.events import Event
from lm.generation.generate import texts_to_write
from lm.generation.load import Trained
from lm.system.memory import is_out_of_memory

LOG = logging.getLogger("storyline")


@dataclass(frozen=True)
class Limits:
    """What one request may use.

    Attributes:
        max_tokens: new tokens of a text.
        seconds: from the request to the end of its answer, the time in which it waits included.
    """

    max_tokens: int
    seconds: float


class Service:
    """A model with a name, and the engine that writes for all who ask."""

    def __init__(self, name: str, trained: Trained, engine: Engine, limits: Limits) -> None:
        self.name, self.trained, self.engine, self.limits = name, trained, engine, limits
        self.chats = trained.card.chat
        self._never = never_said(trained.tokenizer) if self.chats else []
        self._created = int(time.time())

    def card(self) -> dict[str, Any]:
        """The model as `/v1/models` lists it; the last three fields are ours."""
        return {
            "id": self.name,
            "object": "model",
            "created": self._created,
            "owned_by": "storyline",
            "chats": self.chats,
            "context_length": self.trained.card.config.context_length,
            "max_tokens": self.limits.max_tokens,
        }

    def chat(self, fields: ChatFields) -> "Answer":
        """The next message of a dialogue.

        Raises:
            ApiError: when it cannot be written.
        """
        if not self.chats:
            raise ApiError(
                400,
                f"model: {self.name} continues texts and has not learned to chat; use /v1/completions",
                "model",
                "model_not_supported",
            )
        if fields.top_logprobs and not fields.logprobs:
            raise ApiError(400, "top_logprobs: only allowed when logprobs is true", "top_logprobs")
        tokenizer, config = self.trained.tokenizer, self.trained.card.config
        messages = [message.message for message in fields.messages]
        try:
            prompt = fitted_prompt(tokenizer, messages, config.context_length)
        except ValueError as error:
            raise ApiError(400, str(error), "messages", "context_length_exceeded") from None
        n_tokens = fields.max_completion_tokens or fields.max_tokens or self.limits.max_tokens
        logprobs = fields.top_logprobs if fields.logprobs else None
        texts = self._texts(
            fields, [prompt.ids], n_tokens, logprobs, end_of_turn(tokenizer), self._never, [prompt.turns]
        )
        choices = [Choice(tokenizer, (), fields.stop) for _ in texts]
        return self._answer("chat", fields, texts, choices, dropped_messages=prompt.n_dropped)

    def completion(self, fields: CompletionFields) -> "Answer":
        """Continuations of texts.

        Raises:
            ApiError: when they cannot be written.
        """
        _, tokenizer, card = self.trained
        prompts = [[card.end_id, *ids] for ids in tokenizer.encode_batch(fields.prompt)]
        texts = self._texts(fields, prompts, fields.max_tokens, fields.logprobs, card.end_id, [])
        choices = [Choice(tokenizer, text.ids[1:], fields.stop) for text in texts]
        n_dropped = sum(start_of_context(len(ids), card.config.context_length) for ids in prompts)
        return self._answer("completion", fields, texts, choices, dropped_tokens=n_dropped)

    def _texts(
        self,
        fields: TextFields,
        prompts: list[list[int]],
        n_tokens: int,
        logprobs: int | None,
        end_id: int,
        never: list[int],
        turns: list[Turns] | None = None,
    ) -> list[Text]:
        if fields.model != self.name:
            message = f"model: {fields.model} is not here; there is {self.name}"
            raise ApiError(404, message, "model", "model_not_found")
        if n_tokens > self.limits.max_tokens:
            message = f"max_tokens: must be at most {self.limits.max_tokens}, got {n_tokens}"
            raise ApiError(400, message, "max_tokens", "invalid_value")
        if (n_texts := len(prompts) * fields.n) > self.engine.max_texts:
            most = self.engine.max_texts
            raise ApiError(400, f"n: must give at most {most} texts with all prompts, got {n_texts}", "n")
        constraints = Constraints(stop=tuple(fields.stop))
        rules = Rules(constraints, self.trained.tokenizer, max_new_tokens=n_tokens) if constraints else None
        return texts_to_write(
            prompts,
            fields.sampling,
            max_new_tokens=n_tokens,
            end_id=end_id,
            seed=secrets.randbits(32) if fields.seed is None else fields.seed,
            samples=fields.n,
            rules=rules,
            never=never,
            logprobs=logprobs,
            turns=turns,
        )

    def _answer(
        self, kind: Kind, fields: TextFields, texts: list[Text], choices: list[Choice], **ours: int
    ) -> "Answer":
        prefix = "chatcmpl" if kind == "chat" else "cmpl"
        head = {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": self.name, **ours}
        form = Form(kind, head, self.trained.tokenizer, logprobs=texts[0].logprobs is not None)
        return Answer(self, form, texts, choices, sum(text.n_prompt for text in texts[:: fields.n]))


class Answer:
    """An answer that is being written. `begin` it, read its pieces, and in any case `leave` it."""

    def __init__(self, service: Service, form: Form, texts: list[Text], choices: list[Choice], n_prompt: int) -> None:
        self.form = form
        self._service, self._choices, self._n_prompt = service, choices, n_prompt
        self._came = asyncio.Queue[list[Event] | Exception]()
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + service.limits.seconds
        self._job = Job(texts, self._tell)

    def begin(self) -> None:
        """Let the engine write.

        Raises:
            ApiError: when too many ask, or the server stops.
        """
        try:
            self._service.engine.submit(self._job)
        except FullError:
            raise ApiError(429, "too many texts are being written; try again", None, "rate_limit_exceeded") from None
        except ClosedError as error:
            raise _failure(error) from None

    def leave(self) -> None:
        """Let the engine write no more of it."""
        self._service.engine.cancel(self._job)

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """What each choice has more, as soon as it has.

        Raises:
            ApiError: when the answer takes too long or fails.
        """
        n_left = len(self._choices)
        while n_left:
            by_choice: dict[int, list[Event]] = {}
            for event in await self._next_events():
                by_choice.setdefault(event.row, []).append(event)
            for index, events in by_choice.items():
                piece = self._choices[index].add(events)
                n_left -= piece.finish_reason is not None
                if piece.text or piece.finish_reason:
                    yield index, piece

    async def whole(self) -> dict[str, Any]:
        """The answer that is not streamed."""
        pieces: list[list[Piece]] = [[] for _ in self._choices]
        async for index, piece in self.pieces():
            pieces[index].append(piece)
        return self.form.whole([joined(of_choice) for of_choice in pieces], self.usage())

    async def events(self, *, include_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events. An error becomes the last of them, because the answer has begun."""
        try:
            for index in range(len(self._choices)):
                if opening := self.form.opening(index):
                    yield _event(opening)
            async for index, piece in self.pieces():
                yield _event(self.form.chunk(index, piece))
            if include_usage:
                yield _event(self.form.usage_chunk(self.usage()))
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield _event(error.body)

    def usage(self) -> dict[str, int]:
        """What the answer has cost so far, in tokens."""
        n_written = sum(choice.n_tokens for choice in self._choices)
        return {
            "prompt_tokens": self._n_prompt,
            "completion_tokens": n_written,
            "total_tokens": self._n_prompt + n_written,
        }

    async def _next_events(self) -> list[Event]:
        """What has come since the last time, or what comes next."""
        try:
            async with asyncio.timeout_at(self.deadline):
                came = [await self._came.get()]
        except TimeoutError:
            seconds = self._service.limits.seconds
            raise ApiError(504, f"the answer took longer than {seconds:g} seconds", None, "timeout") from None
        while not self._came.empty():
            came.append(self._came.get_nowait())
        events: list[Event] = []
        for what in came:
            if isinstance(what, Exception):
                raise _failure(what)
            events += what
        return events

    def _tell(self, what: list[Event] | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._came.put_nowait, what)


def _failure(error: Exception) -> ApiError:
    if isinstance(error, ClosedError):
        return ApiError(503, "the server stops")
    if is_out_of_memory(error):
        return ApiError(503, "so many texts at once do not fit into memory; --batch lowers their number")
    LOG.error("a text could not be written", exc_info=error)
    return ApiError(500, "the server has made a mistake; its log says which")


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
