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
from tests.training.test_dialogues import bpe as with_roles

SAMPLE = {"prompts": [""], "max_new_tokens": 1, "temperature": 0.7, "top_k": None, "top_p": 0.9, "device": "cpu"}
CHAT = {
    "n_dialogues": 1,
    "max_new_tokens": 1,
    "temperature": 0.0,
    "top_p": None,
    "batch_size": 1,
    "device": "cpu",
    "weights": "fp32",
}


def run(folder: Path, transformers: str | None, gguf: str | None, **switches: Any) -> dict[str, Any]:
    """The metrics of the stage, run in this process on random models."""
    tokenizer = with_roles()
    ours = random_model(tokenizer.vocab_size, **switches)
    for name in ("base", "chat"):
        card = ModelCard(ours.config, tokenizer.vocab_size, tokenizer.end_id, tokenizer.sha256, [], chat=name == "chat")
        save_model(folder / name, {name: p.detach().numpy() for name, p in ours.named_parameters()}, card)
        tokenizer.save(folder / f"{name}_tokenizer")
    write_json(folder / "text", {"source": "stories", "train": {"n_bytes": 12345}})
    write_json(folder / "dialogues", {"source": "stories", "train": {"n_dialogues": 678}})
    write_json(folder / "base_metrics", {"loss": 0.61, "loss_standard_error": 0.002, "n_tokens": 3})
    write_json(folder / "chat_metrics", {"chat": {"right_answers": 0.5, "right_by_kind": {"who": 0.25}}, "base": None})
    values = {"export": {"transformers": transformers, "gguf": gguf}, "sample": SAMPLE, "chat": CHAT}

    def section(section: type[Section], *_names: str) -> Section:
        return section.parse(values[section.name()])

    stage: Any = SimpleNamespace(path=folder.joinpath, section=section)
    export.main(stage)
    differences: dict[str, Any] = json.loads((folder / "differences").read_text())
    return differences


def test_both_models_are_written_in_both_formats_with_a_card(tmp_path: Path) -> None:
    differences = run(tmp_path, "bf16", "f16", d_model=32)
    assert list(differences) == ["base", "chat"]
    for name, reports in differences.items():
        assert [report["architecture"] for report in reports.values()] == ["LlamaForCausalLM", "llama"]
        assert [path.name for path in (tmp_path / f"{name}_gguf").iterdir()] == [f"{name}-f16.gguf"]
        card = (tmp_path / f"{name}_transformers" / "README.md").read_text()
        assert "license: mit\n" in card
        assert "| train.n_bytes | 12,345 |\n" in card
    card = (tmp_path / "base_transformers" / "README.md").read_text()
    assert "| loss | 0.61 ± 0.002 |\n" in card
    settings = json.loads((tmp_path / "base_transformers" / "generation_config.json").read_text())
    assert settings["temperature"] == 0.7
    assert settings["top_p"] == 0.9


def test_the_page_of_a_chat_model_shows_how_to_talk_to_it_and_how_well_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "f32", None)
    card = (tmp_path / "chat_transformers" / "README.md").read_text()
    assert "| train.n_dialogues | 678 |\n" in card
    assert "| right_by_kind.who | 0.25 |\n" in card
    settings = json.loads((tmp_path / "chat_transformers" / "generation_config.json").read_text())
    assert settings["do_sample"] is False
    monkeypatch.chdir(tmp_path)
    program = card.partition("```python\n")[2].partition("```")[0]
    exec(program.replace('"chat"', '"chat_transformers"'), {})  # what the page says can be run as it stands
    assert capsys.readouterr().out.strip() != ""


def test_what_has_no_home_or_is_not_asked_for_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"transformers": None, "gguf": None}
    assert run(tmp_path, "f32", None, norm="none") == {"base": nothing, "chat": nothing}
    line = (
        "model: no architecture of transformers computes this combination of switches; the nearest, LlamaForCausalLM, "
        "needs norm: rmsnorm"
    )
    assert capsys.readouterr().err == f"no transformers of base: {line}\nno transformers of chat: {line}\n"
    for name in ("base", "chat"):
        page = (tmp_path / f"{name}_transformers" / "README.md").read_text()
        assert page == f"Nothing was exported: {line}.\n"
        page = (tmp_path / f"{name}_gguf" / "README.md").read_text()
        assert page == "Nothing was exported: export.gguf is null.\n"
