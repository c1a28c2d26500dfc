"""What tests of this folder share."""

import pytest

from lm.system.processes import _Worker


@pytest.fixture
def others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes have started before this one works: so small files have work for all of them."""
    start = _Worker.__init__

    def start_and_wait(self: _Worker, copy: bytes) -> None:
        start(self, copy)
        self.pipe.poll(None)

    monkeypatch.setattr(_Worker, "__init__", start_and_wait)
