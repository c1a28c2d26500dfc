"""A server in a thread, with a tiny model."""

import threading
import time
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


class Paced:
    """A model that takes its time for each step, as a larger one does."""

    def __init__(self, model: Any, step_s: float) -> None:
        self.config, self._model, self.step_s = model.config, model, step_s

    def session(self, batch_size: int) -> Any:
        """A session whose steps take longer."""
        session = self._model.session(batch_size)
        read = session.read

        def slowly(ids: Any, last: int | None = None) -> Any:
            time.sleep(self.step_s)
            return read(ids, last)

        session.read = slowly
        return session


def chat_model(folder: Path) -> Trained:
    """A small random model that can chat: its tokens are the bytes and those of roles."""
    tokenizer = bytes_alone(tokenizer_config(kind="byte", special_tokens=[*CHAT_TOKENS]))
    return load_trained(write_model(folder, tokenizer, chat=True, context_length=96), device="cpu")


def base_model(folder: Path) -> Trained:
    """A small random model that continues texts of bytes."""
    return load_trained(write_model(folder, context_length=96), device="cpu")
