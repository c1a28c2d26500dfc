"""Tests of stages/analyze.py, on untrained models."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.analysis.views import Table, topic_from_json
from lm.config.analyze import AnalyzeConfig
from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Check, Dialogue, Message, write_dialogues
from lm.system.files import sha256
from lm.tokenizer.counting import count_texts
from lm.tokenizer.inspection import show_split
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.pretrained_inputs import list_pretrained
from stages import analyze
from tests.small import DOCUMENTS, tokenizer_config, write_model, write_tokens

NONE: dict[str, Any] = {
    name: None
    for each in ("right_answers", "words_used", "stories_in_the_grammar", "ends_itself")
    for name in (each, f"{each}_standard_error")
}


def prepared(folder: Path, snapshots: list[int], others: list[str] | None = None, **model: Any) -> Any:
    """A stage whose base model reads single bytes. `others` are tokenizers to compare with."""
    write_model(folder / "base", **({"context_length": 32} | model))
    tokenizer = load_tokenizer(folder / "base" / "tokenizer.json")
    ids = [tokenizer.encode(text) for text in DOCUMENTS[:3]]
    tokens = write_tokens(
        folder, ids, tokenizer.vocab_size, tokenizer_sha256=sha256(folder / "base" / "tokenizer.json")
    )
    assert tokens.card.end_id == tokenizer.end_id
    (folder / "snapshots").mkdir()
    for step in snapshots:
        (folder / "snapshots" / f"{step}.safetensors").write_bytes((folder / "base" / "model.safetensors").read_bytes())
    roles = learn_bpe(count_texts(DOCUMENTS), tokenizer_config(special_tokens=list(CHAT_TOKENS)))
    write_model(folder / "chat", roles, context_length=64)
    (folder / "other_tokenizers").write_text(json.dumps(list_pretrained(others or [], folder)))
    (folder / "metrics").write_text('{"kept_step": 8}')
    (folder / "figures").write_text(json.dumps({"chat": NONE | {"right_by_kind": {}}, "base": None}))
    turn = Message("user", "Who sang?"), Message("assistant", "The fox sang.")
    write_dialogues(folder / "dialogues", [Dialogue(turn, (Check(1, "who", ("The fox sang.",)),))])
    files = {"model": "base/model.safetensors", "tokenizer": "base/tokenizer.json", "tokens": "tokens.bin"}
    files |= {"train_tokens": "tokens.bin", "train_card": "tokens.json"}
    for split in ("train", "valid"):
        (folder / f"{split}_text").write_text("".join(f"{text}\n<|endoftext|>\n" for text in DOCUMENTS[:3]))
    files |= {"chat_model": "chat/model.safetensors", "chat_tokenizer": "chat/tokenizer.json", "card": "tokens.json"}
    section = AnalyzeConfig(text="The fox sang.", n_documents=3, n_stories=3, other_tokenizers=others or [])

    def path(name: str) -> Path:
        return folder / files.get(name, name)

    return SimpleNamespace(
        path=path,
        section=lambda kind, *_: section if kind is AnalyzeConfig else SimpleNamespace(source="stories"),
        seed=lambda: 1,
    )


TOPICS = ("text", "tokenizer", "model", "training", "stories", "chat")
OUTS = ("page", "learning", "story_metrics", *(f"{name}_views" for name in TOPICS))


def test_the_same_inputs_give_the_same_bytes_and_every_topic_is_on_the_page(tmp_path: Path) -> None:
    stage = prepared(tmp_path, [0, 2, 9])  # the weights that are kept are those of step 8
    analyze.main(stage)
    first = {name: (tmp_path / name).read_bytes() for name in OUTS}
    analyze.main(stage)
    assert {name: (tmp_path / name).read_bytes() for name in OUTS} == first
    topics = [topic_from_json(json.loads(first[f"{name}_views"])) for name in TOPICS]
    assert [topic.name for topic in topics] == [*TOPICS]
    assert all(f'<section id="{topic.name}">' in first["page"].decode() for topic in topics)
    assert topics[3].views[0].curves[0].x == (0, 2, 8)  # type: ignore[union-attr]
    assert b"data:image/png" in first["page"]


@pytest.mark.parametrize("model", [{"positions": "none"}, {"context_length": 4}, {"window": 2, "positions": "alibi"}])
def test_other_models_without_snapshots_have_a_page_too(tmp_path: Path, model: dict[str, Any]) -> None:
    analyze.main(prepared(tmp_path, [], **model))
    assert "train.snapshots" in topic_from_json(json.loads((tmp_path / "training_views").read_bytes())).notes[0]
    assert b"data:image/png" not in (tmp_path / "page").read_bytes()


def test_another_tokenizer_stands_beside_that_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    other = learn_bpe(count_texts(DOCUMENTS), tokenizer_config(vocab_size=300))
    other.save(tmp_path / "other.json")
    stage = prepared(tmp_path, [], ["other.json"])
    analyze.main(stage)
    kinds, splits, *_ = topic_from_json(json.loads((tmp_path / "tokenizer_views").read_bytes())).views
    text = "\n".join(DOCUMENTS[:3])
    assert isinstance(kinds, Table)
    assert isinstance(splits, Table)
    assert kinds.columns == splits.columns == ("kind of text", "this one", "other.json")
    assert kinds.rows[0] == ("the corpus", 1, float(f"{len(text.encode()) / len(other.encode(text)):.3g}"))
    assert splits.rows[0][2] == show_split(other, DOCUMENTS[0][:160])

    learn_bpe(count_texts(DOCUMENTS), tokenizer_config(vocab_size=299)).save(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"^analyze\.other_tokenizers: the files must not change after stage"):
        analyze.main(stage)
