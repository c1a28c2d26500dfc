"""Where a stage that trains keeps what is no result."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.config.observe import ObserveConfig
from stages.run_folders import run_folders


@pytest.mark.parametrize("tensorboard", [True, False])
def test_events_are_wanted_where_the_parameters_say_so(
    tensorboard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    observe = ObserveConfig(log_every=1, tensorboard=tensorboard)
    stage: Any = SimpleNamespace(aside=lambda section: observe)
    folders = run_folders(stage)
    assert (folders.states, folders.timings) == (tmp_path / ".resume", tmp_path / ".timings")
    assert folders.events == (tmp_path / ".tensorboard" if tensorboard else None)
