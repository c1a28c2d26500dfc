"""Running out of memory in a stage that uses a model is one line that names the parameter to change."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lm.config.base import Section
from lm.model.reader import Reader
from lm.model.transformer import Transformer
from stages import evaluate, sample
from tests.workspace import Workspace

FILES = {
    "model": "models/base/model.safetensors",
    "tokenizer": "data/tokenizer.json",
    "tokens": "data/tokens/valid.bin",
    "card": "data/tokens/valid.json",
}
MESSAGES = {
    evaluate: r"^evaluate\.batch_size: \d+ contexts at once, or the model alone, do not fit into memory; lower it or ",
    sample: r"^sample\.prompts: 3 texts at once, or the model alone, do not fit into memory; give fewer prompts or ",
}
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError("Unable to allocate 8.00 GiB for an array with shape (32, 1024, 65536) and data type float32"),
]


def stage_in(workspace: Workspace) -> Any:
    """What the two stages ask of a stage before they write."""

    def section(section: type[Section], *_names: str) -> Section:
        return section.load(workspace.path / "params.yaml").model_copy(update={"device": "cpu"})

    def path(name: str) -> Path:
        return workspace.path / FILES[name]

    return SimpleNamespace(path=path, section=section, seed=lambda: 1)


PLACES = [
    *((evaluate, Transformer, name) for name in ("__init__", "hidden", "logits")),
    *((sample, Reader, name) for name in ("__init__", "states", "logits")),
]


@pytest.mark.parametrize(("stage", "model", "place"), PLACES, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_is_one_line_wherever_it_happens(
    micro: Workspace, monkeypatch: pytest.MonkeyPatch, stage: Any, model: type, error: Exception, place: str
) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(model, place, fail)
    with pytest.raises(ValueError, match=MESSAGES[stage]) as raised:
        stage.main(stage_in(micro))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("stage", "model", "place"), [PLACES[1], PLACES[4]])
def test_another_error_stays_what_it_is(
    micro: Workspace, monkeypatch: pytest.MonkeyPatch, stage: Any, model: type, place: str
) -> None:
    monkeypatch.setattr(model, place, lambda *_args, **_options: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        stage.main(stage_in(micro))
