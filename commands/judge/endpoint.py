"""The endpoint that answers: OpenAI's API, there or at any other address."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm.system.messages import one_line

_LONGEST_WAIT_S = 60.0  # of the waits that we choose
_LONGEST_ASKED_S = 600.0  # of those that the endpoint asks for
_OF_THE_TEXT = (400, 413, 422)  # so a request is refused for what it says; all else is wrong for every story
_TRY_AGAIN = (408, 409, 429)
_SHOWN = 300  # characters of a message

Message = dict[str, str]


class RefusedError(ValueError):
    """The endpoint does not answer this request. It may answer others."""


@dataclass(frozen=True)
class Reply:
    """What was answered, and the model that says that it did so."""

    text: str
    model: str


class Endpoint:
    """An address that answers as OpenAI's chat completions do.

    Attributes:
        waiting: called with a line whenever it has to wait before it tries again.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None,
        temperature: float | None,
        retries: int,
        timeout_s: float,
        waiting: Callable[[str], object] = lambda line: None,
    ) -> None:
        """Nothing is asked yet.

        Raises:
            ValueError: when the client is not installed, or the address is none.
        """
        try:
            import openai
        except ImportError:
            raise ValueError("openai: must be installed: pip install '.[judge]'") from None
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--url: must begin with http:// or https://, got {url}")
        self._openai, self._model, self._retries, self.waiting = openai, model, retries, waiting
        self._optional = {} if temperature is None else {"temperature": temperature}
        try:  # the client wants some key; a server without keys does not look at it
            self._client = openai.AsyncOpenAI(
                base_url=url, api_key=key or "none", max_retries=0, timeout=timeout_s, organization="", project=""
            )
        except Exception as error:  # of the HTTP library below, which is not always the same one
            raise ValueError(f"--url: {url}: {one_line(error)}") from None

        self._create: Any = self._client.chat.completions.create

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, messages: Sequence[Message]) -> Reply:
        """The answer to these messages. Where it makes sense it waits and tries again.

        Raises:
            RefusedError: when this request is refused.
            ValueError: when no request can be answered, in one line.
        """
        for tried in range(self._retries + 1):
            try:
                return _reply(await self._create(model=self._model, messages=list(messages), **self._optional))
            except self._openai.APIStatusError as error:
                reason, wait_s = self._judged(error)
            except self._openai.APIConnectionError as error:
                reason, wait_s = one_line(error.__cause__ or error) or type(error.__cause__ or error).__name__, None
            except self._openai.OpenAIError as error:
                raise ValueError(f"the endpoint: {_shortened(error)}") from None
            if tried < self._retries:
                wait_s = min(_LONGEST_WAIT_S, 2.0**tried) if wait_s is None else wait_s
                self.waiting(f"waiting {wait_s:g} s: {reason}")
                await asyncio.sleep(wait_s)
        times = "once" if self._retries == 0 else f"{self._retries + 1} times"
        raise ValueError(f"the endpoint: asked {times}: {reason}")

    def _judged(self, error: Any) -> tuple[str, float | None]:
        """What a status says, and how long it asks to wait, if it may be another one next time.

        Raises:
            RefusedError, ValueError: as `ask` does.
        """
        status, body = error.status_code, error.body if isinstance(error.body, dict) else {}
        reason = f"HTTP {status}: {_shortened(body.get('message') or error.response.text)}".removesuffix(": ")
        if status in _OF_THE_TEXT:
            raise RefusedError(reason)
        wait_s = _seconds(error.response.headers.get("retry-after"))
        again = status in _TRY_AGAIN or status >= 500
        if not again or body.get("code") == "insufficient_quota" or (wait_s or 0) > _LONGEST_ASKED_S:
            raise ValueError(f"the endpoint: {reason}")
        return reason, wait_s


def _reply(completion: Any) -> Reply:
    try:
        message = completion.choices[0].message
        return Reply(message.content or "", str(completion.model))
    except (AttributeError, IndexError, TypeError):
        raise ValueError(
            f"the endpoint: must answer as OpenAI's chat completions do, got {_shortened(completion)}"
        ) from None


def _seconds(header: str | None) -> float | None:
    """The seconds of a Retry-After; None for a date, which nobody sends with these statuses."""
    return float(header) if header and header.replace(".", "", 1).isdigit() else None


def _shortened(value: object) -> str:
    line = " ".join(str(value).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]} …"
