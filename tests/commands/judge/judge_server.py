"""A small server on loopback that answers as OpenAI's chat completions do, or fails as a test asks."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = "**Grammar:** 8/10\nCreativity: 6.5/10\nConsistency: 7/10\nPlot: 5/10"

Reply = tuple[int, dict[str, str], Any]  # status, headers, body
Answer = Callable[[list[dict[str, str]]], "str | Reply"]


class JudgeServer:
    """What it was asked, and what it answers: a text, or a whole reply, made from the messages."""

    def __init__(self) -> None:
        self.answer: Answer = graded
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    def reply(self, body: dict[str, Any], key: str | None) -> Reply:
        """The reply to a request."""
        self.asked.append(body)
        self.keys.append(key)
        answer = self.answer(body["messages"])
        return (200, {}, completion(answer)) if isinstance(answer, str) else answer


def graded(messages: list[dict[str, str]]) -> str:
    """An opinion on the first question, good grades on the second."""
    return "It reads well." if len(messages) == 1 else GOOD


def completion(text: str | None) -> dict[str, Any]:
    """The body of an answer of one text."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "wise-1", "choices": [choice]}


def failure(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """The reply that says what is wrong."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, {
        "error": {"message": message, "type": "x", "param": None, "code": code}
    }  # fmt: skip


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A server while the block runs."""
    judge = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, content = judge.reply(body, self.headers["Authorization"])
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            kind = "text/html" if isinstance(content, str) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked has gone
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
