"""Texts that grow, as the objects that OpenAI's API answers with: whole, and in pieces while they grow.

https://platform.openai.com/docs/api-reference/chat/object, /chat-streaming, /completions/object.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from lm.generation.events import End, Event, Reason, Token
from lm.generation.texts import GrowingText
from lm.tokenizer.tokenizer import Tokenizer

Kind = Literal["chat", "completion"]
_FINISH: dict[Reason, str] = {"model": "stop", "stop": "stop", "stuck": "stop", "length": "length"}


class Piece(NamedTuple):
    """What a text has more: characters, the tokens that they come from, and why it ends if it does."""

    text: str
    tokens: list[Token]
    finish_reason: str | None


def joined(pieces: Sequence[Piece]) -> Piece:
    """All pieces of a text as one."""
    tokens = [token for piece in pieces for token in piece.tokens]
    return Piece("".join(piece.text for piece in pieces), tokens, pieces[-1].finish_reason)


class Choice:
    """One text of an answer. Tokens are given out with the characters that they write, and none of a stop string."""

    def __init__(self, tokenizer: Tokenizer, after: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer, self._growing = tokenizer, GrowingText(tokenizer, after, stop)
        self._waiting: list[Token] = []
        self._n_shown = self._n_given = 0  # bytes of the text, and of the tokens that are given out
        self.n_tokens = 0

    def add(self, events: Iterable[Event]) -> Piece:
        """What these events add."""
        text, reason = "", None
        for event in events:
            text += self._growing.add(event)
            if isinstance(event, End):
                reason = event.reason
            else:
                self.n_tokens += 1
                self._waiting.append(event)
        self._n_shown += len(text.encode())
        if not text and reason is None:
            return Piece("", [], None)
        given, self._waiting = self._waiting, []
        if reason == "stop":
            given = self._shown(given)
        self._n_given += sum(len(self._tokenizer.token_bytes(token.id)) for token in given)
        return Piece(text, given, reason and _FINISH[reason])

    def _shown(self, tokens: list[Token]) -> list[Token]:
        """Those that write something before the stop string."""
        start, shown = self._n_given, []
        for token in tokens:
            if start >= self._n_shown:
                break
            shown.append(token)
            start += len(self._tokenizer.token_bytes(token.id))
        return shown


class Form:
    """How an answer to one request looks."""

    def __init__(self, kind: Kind, head: dict[str, Any], tokenizer: Tokenizer, *, logprobs: bool) -> None:
        """
        Args:
            kind: of the request.
            head: fields that each object has: `id`, `created`, `model` and ours.
            tokenizer: spells tokens.
            logprobs: whether the answer tells the probabilities of tokens.
        """
        self._kind, self._head, self._tokenizer, self._logprobs = kind, head, tokenizer, logprobs
        self._offsets: dict[int, int] = {}  # characters of each choice so far

    def opening(self, index: int) -> dict[str, Any] | None:
        """The chunk before the first piece of a choice, if there is one."""
        if self._kind == "completion":
            return None
        return self._chunk([_choice(index, None, delta={"role": "assistant", "content": ""}, logprobs=None)])

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        """The chunk for a piece."""
        logprobs = self._probabilities(index, piece) if piece.tokens else None
        if self._kind == "completion":
            return self._chunk([_choice(index, piece.finish_reason, text=piece.text, logprobs=logprobs)])
        delta = {"content": piece.text} if piece.text or piece.tokens else {}
        return self._chunk([_choice(index, piece.finish_reason, delta=delta, logprobs=logprobs)])

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """The chunk after all others, for those who ask what an answer has cost."""
        return self._chunk([]) | {"usage": usage}

    def whole(self, pieces: Sequence[Piece], usage: dict[str, int]) -> dict[str, Any]:
        """The answer that is not streamed: a piece for each choice."""
        choices = []
        for index, piece in enumerate(pieces):
            logprobs = self._probabilities(index, piece)
            if self._kind == "completion":
                choices.append(_choice(index, piece.finish_reason, text=piece.text, logprobs=logprobs))
            else:
                message = {"role": "assistant", "content": piece.text, "refusal": None}
                choices.append(_choice(index, piece.finish_reason, message=message, logprobs=logprobs))
        name = "text_completion" if self._kind == "completion" else "chat.completion"
        return {"object": name, **self._head, "choices": choices, "usage": usage}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        name = "text_completion" if self._kind == "completion" else "chat.completion.chunk"
        return {"object": name, **self._head, "choices": choices}

    def _probabilities(self, index: int, piece: Piece) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        if self._kind == "chat":
            return {"content": [self._in_chat(token) for token in piece.tokens], "refusal": None}
        offset, offsets = self._offsets.get(index, 0), []
        for token in piece.tokens:
            offsets.append(offset)
            offset += len(self._tokenizer.decode([token.id]))
        self._offsets[index] = offset
        return {
            "tokens": [self._named(token.id) for token in piece.tokens],
            "token_logprobs": [token.logprob for token in piece.tokens],
            "top_logprobs": [
                {self._named(id): logprob for id, logprob in token.alternatives} for token in piece.tokens
            ],
            "text_offset": offsets,
        }

    def _named(self, id: int) -> str:
        """A token as text; as its bytes where these are no text, as the API writes them."""
        spelled = self._tokenizer.token_bytes(id)
        try:
            return spelled.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelled)

    def _in_chat(self, token: Token) -> dict[str, Any]:
        def row(id: int, logprob: float | None) -> dict[str, Any]:
            spelled = list(self._tokenizer.token_bytes(id))
            return {"token": self._tokenizer.decode([id]), "bytes": spelled, "logprob": logprob}

        return row(token.id, token.logprob) | {"top_logprobs": [row(*likely) for likely in token.alternatives]}


def _choice(index: int, finish_reason: str | None, **content: Any) -> dict[str, Any]:
    return {"index": index, **content, "finish_reason": finish_reason}
