"""The stage that exports: what it writes, and what it says where the other program lacks a switch."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.config.base import Section
from lm.formats.model_file import ModelCard, save_model
from lm.system.files import write_json
from stages import export
from tests.small import random_model
from tests.tokenizer.test_tokenizer import tokenizer

SAMPLE = {"prompts": [""], "max_new_tokens": 1, "temperature": 0.7, "top_k": None, "top_p": 0.9, "device": "cpu"}


def run(folder: Path, transformers: str | None, gguf: str | None, **switches: Any) -> dict[str, Any]:
    """The metrics of the stage, run in this process on a random model."""
    bpe = tokenizer("bpe")
    ours = random_model(bpe.vocab_size, **switches)
    card = ModelCard(ours.config, bpe.vocab_size, bpe.end_id, bpe.sha256, [])
    save_model(folder / "base" / "model", {name: p.detach().numpy() for name, p in ours.named_parameters()}, card)
    bpe.save(folder / "tokenizer")
    write_json(folder / "card", {"source": "stories", "train": {"n_bytes": 12345}})
    write_json(folder / "metrics", {"loss": 0.61, "loss_standard_error": 0.002, "n_tokens": 3})
    values = {"export": {"transformers": transformers, "gguf": gguf}, "sample": SAMPLE}

    def section(section: type[Section], *_names: str) -> Section:
        return section.parse(values[section.name()])

    def path(name: str) -> Path:
        return folder / "base" / name if name == "model" else folder / name

    stage: Any = SimpleNamespace(path=path, section=section)
    export.main(stage)
    differences: dict[str, Any] = json.loads((folder / "differences").read_text())
    return differences


def test_both_formats_are_written_with_a_card(tmp_path: Path) -> None:
    differences = run(tmp_path, "bf16", "f16", d_model=32)
    assert [report["architecture"] for report in differences.values()] == ["LlamaForCausalLM", "llama"]
    assert [path.name for path in (tmp_path / "gguf").iterdir()] == ["base-f16.gguf"]
    card = (tmp_path / "transformers" / "README.md").read_text()
    assert "license: mit\n" in card
    assert "| train.n_bytes | 12,345 |\n" in card
    assert "| loss | 0.61 ± 0.002 |\n" in card
    settings = json.loads((tmp_path / "transformers" / "generation_config.json").read_text())
    assert settings["temperature"] == 0.7
    assert settings["top_p"] == 0.9


def test_what_has_no_home_or_is_not_asked_for_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "f32", None, norm="none") == {"transformers": None, "gguf": None}
    line = (
        "model: no architecture of transformers computes this combination of switches; the nearest, LlamaForCausalLM, "
        "needs norm: rmsnorm"
    )
    assert capsys.readouterr().err == f"no transformers: {line}\n"
    assert (tmp_path / "transformers" / "README.md").read_text() == f"Nothing was exported: {line}.\n"
    assert (tmp_path / "gguf" / "README.md").read_text() == "Nothing was exported: export.gguf is null.\n"
