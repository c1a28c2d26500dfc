"""Tests of stages/train.py that need no run."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.config.base import Section
from lm.system.files import sha256
from stages import train
from tests.small import MODEL, TRAIN, random_documents, write_tokens


def test_a_tokenizer_that_did_not_make_the_tokens_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "right.json").write_text("the tokenizer")
    (tmp_path / "other.json").write_text("another one")
    tokens = write_tokens(tmp_path, random_documents(4, 30, 50), tokenizer_sha256=sha256(tmp_path / "right.json"))

    def section(section: type[Section]) -> Section:
        return section.parse(MODEL if section.name() == "model" else TRAIN)

    def path(name: str) -> Path:
        return (
            tmp_path / {"tokens": "tokens.bin", "card": "tokens.json", "tokenizer": "other.json"}[name.split("_")[-1]]
        )

    stage: Any = SimpleNamespace(path=path, section=section, seed=lambda: 1, watched_by_others=nullcontext)
    monkeypatch.setattr(train, "run_folders", lambda _stage: None)
    with pytest.raises(ValueError, match=rf"other\.json: must have the tokenizer of {tokens.path}, with the hash "):
        train.main(stage)
