"""A server in a thread, with a tiny model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import openai

from commands.serve.__main__ import Server, listen
from commands.serve.app import build_app
from commands.serve.service import Limits, Service
from lm.config.special_tokens import CHAT_TOKENS
from lm.generation.engine import Engine
from lm.generation.load import Trained, load_trained
from lm.tokenizer.learning import bytes_alone
from tests.small import tokenizer_config, write_model

MAX_TOKENS = 200


class Running:
    """A server that runs, and its address."""

    def __init__(self, service: Service, port: int) -> None:
        self.service, self.port, self.address = service, port, f"http://127.0.0.1:{port}"

    @property
    def trained(self) -> Trained:
        """Its model."""
        return self.service.trained

    @cached_property
    def client(self) -> openai.OpenAI:
        """A client of OpenAI's that asks this server, and only once."""
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=60)


@contextmanager
def served(
    trained: Trained,
    name: str,
    *,
    max_texts: int = 8,
    max_waiting: int = 8,
    seconds: float = 60,
    **guards: Any,
) -> Iterator[Running]:
    """A server on loopback while the block runs."""
    engine = Engine(trained.model, max_texts=max_texts, max_waiting=max_waiting)
    service = Service(name, trained, engine, Limits(MAX_TOKENS, seconds))
    listening = listen("127.0.0.1", 0)
    server = Server(build_app(service, **guards), engine)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Running(service, listening.getsockname()[1])
    finally:
        engine.close()
        server.should_exit = True
        thread.join()
        engine.join()


class Halting:
    """A model that takes a step only where a test lets it, so that the test can act while a text is written."""

    def __init__(self, model: Any) -> None:
        self.config, self._model = model.config, model
        self._steps, self._free = threading.Semaphore(0), False

    def allow(self, n_steps: int) -> None:
        """Let it take so many steps more."""
        self._steps.release(n_steps)

    def free(self) -> None:
        """Let it take all steps from now on."""
        self._free = True
        self.allow(1)

    def session(self, batch_size: int) -> Any:
        """A session that waits before each step."""
        session = self._model.session(batch_size)
        read = session.read

        def waiting(ids: Any, last: int | None = None) -> Any:
            assert self._free or self._steps.acquire(timeout=120)
            return read(ids, last)

        session.read = waiting
        return session


@contextmanager
def halting(trained: Trained, name: str, **limits: Any) -> Iterator[tuple[Running, Halting]]:
    """A server whose model halts before each step, and the model; it goes on when the block ends."""
    model = Halting(trained.model)
    with served(trained._replace(model=model), name, **limits) as running:
        try:
            yield running, model
        finally:
            model.free()


def wait_for_none(running: Running, model: Halting) -> None:
    """Wait until no text is written, though its model could go on."""
    for _ in range(MAX_TOKENS // 2):
        if not running.service.engine.n_texts:
            return
        running.client.models.list()  # the server notices meanwhile who has left
        model.allow(1)
    raise AssertionError("texts are written for somebody who has left")


def chat_model(folder: Path) -> Trained:
    """A small random model that can chat: its tokens are the bytes and those of roles."""
    tokenizer = bytes_alone(tokenizer_config(kind="byte", special_tokens=[*CHAT_TOKENS]))
    return load_trained(write_model(folder, tokenizer, chat=True, context_length=96), device="cpu")


def base_model(folder: Path) -> Trained:
    """A small random model that continues texts of bytes."""
    return load_trained(write_model(folder, context_length=96), device="cpu")
