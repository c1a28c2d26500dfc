"""Talk with a trained model in the browser, and let programs ask it as they ask OpenAI's API.

    python -m commands.serve models/chat
    python -m commands.serve models/base --port 8001          a model that continues texts

Ctrl-C ends it. docs/manual/chat.md has examples.
"""

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from commands.command_line import Parser, add_model_options, complain
from commands.serve.app import build_app
from commands.serve.service import Limits, Service
from lm.generation.engine import Engine
from lm.generation.load import load_trained
from lm.system.memory import keep_memory_flat

_CONNECTIONS = 256  # open ones, those that wait for the next request included


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 after Ctrl-C, 1 after a mistake."""
    values = build_parser().parse(words)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    keep_memory_flat()
    try:
        if not values.model.exists():
            raise ValueError(f"{values.model}: no such folder; `dvc repro finetune` makes models/chat")
        trained = load_trained(
            values.model, values.tokenizer, backend=values.backend, device=values.device, weights=values.weights
        )
        listening = listen(values.host, values.port)
    except ValueError as error:
        complain(error)
        return 1
    engine = Engine(trained.model, max_texts=values.batch, max_waiting=values.queue)
    limits = Limits(values.max_tokens, values.time_limit)
    service = Service(values.name or values.model.resolve().name, trained, engine, limits)
    host, port = listening.getsockname()[:2]
    app = build_app(service, hosts=[*values.allow_host, values.host], origins=values.allow_origin)
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    kind = "talks" if service.chats else "continues texts"
    print(f"{values.model} {kind} at {where} ; programs use {where}/v1 ; Ctrl-C ends", flush=True)
    with suppress(KeyboardInterrupt):
        Server(app, engine).run(sockets=[listening])
    engine.close()
    engine.join()
    return 0


class Server(uvicorn.Server):
    """Serves until Ctrl-C. Then it ends the answers that are being written, so that nobody waits for them."""

    def __init__(self, app: Any, engine: Engine) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: Any) -> None:
        """What a signal does."""
        self._engine.close()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ValueError: when nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(f"--host {host} --port {port}: {os.strerror(error.errno or 0)}") from None


def build_parser() -> Parser:
    """The options."""
    parser = Parser(
        prog="python -m commands.serve",
        description=__doc__,
    )
    add = parser.add_argument
    add("model", type=Path, nargs="?", default=Path("models/chat"), help="folder of the model (models/chat)")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: other machines can ask too (%(default)s)")
    add("--port", type=_whole(0, 65535), default=8000, help="0: any that is free (%(default)s)")
    add("--name", help="how requests name the model (its folder's name)")
    add("--batch", type=_whole(1), default=32, help="texts that are written at once (%(default)s)")
    add("--queue", type=_whole(0), default=64, help="texts that may wait; more get the status 429 (%(default)s)")
    add("--max-tokens", type=_whole(1), default=1024, help="tokens of an answer, at most (%(default)s)")
    add("--time-limit", type=_whole(1), default=300, help="seconds for an answer, at most (%(default)s)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name of this machine; may be repeated")
    add(
        "--allow-origin", action="append", default=[], metavar="URL", help="a site whose pages may ask; may be repeated"
    )
    add_model_options(parser, "model and machine")
    return parser


def _whole(least: int, most: int | None = None) -> Any:
    """A type of argparse: a whole number in a range."""

    def number(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"must be {f'{least} or above' if most is None else f'from {least} to {most}'}, got {value}"
            )
        return value

    number.__name__ = "whole number"
    return number


if __name__ == "__main__":
    sys.exit(main())
