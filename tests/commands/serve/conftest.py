"""A server for all tests of a module, and its model."""

from collections.abc import Iterator

import pytest

from tests.commands.serve.running import Running, base_model, chat_model, served


@pytest.fixture(scope="package")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a model that chats."""
    with served(chat_model(tmp_path_factory.mktemp("chat")), "tiny-chat") as running:
        yield running


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a model that continues texts."""
    with served(base_model(tmp_path_factory.mktemp("base")), "tiny") as running:
        yield running
