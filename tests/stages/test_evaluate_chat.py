"""Tests of stages/evaluate_chat.py."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lm.config.chat import ChatConfig
from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Check, Dialogue, Message, write_dialogues
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe
from stages import evaluate_chat
from tests.small import DOCUMENTS, tokenizer_config, write_model

CONFIG = {
    "n_dialogues": 12,
    "max_new_tokens": 4,
    "temperature": 0.0,
    "top_p": None,
    "batch_size": 8,
    "device": "cpu",
    "weights": "fp32",
}


def evaluated(folder: Path, dialogues: list[Dialogue], *, base_knows_roles: bool) -> dict[str, Any]:
    """The metrics of the stage, of two untrained models, which are the same if the base model knows the roles."""
    tokenizer = learn_bpe(count_texts(DOCUMENTS), tokenizer_config(special_tokens=list(CHAT_TOKENS)))
    for name in ("chat", "base"):
        write_model(folder / name, tokenizer if name == "chat" or base_knows_roles else None, context_length=64)
    write_dialogues(folder / "dialogues", dialogues)
    files = {name: f"{name}/model.safetensors" for name in ("chat", "base")}
    files |= {f"{name}_tokenizer": f"{name}/tokenizer.json" for name in ("chat", "base")}

    def path(name: str) -> Path:
        return folder / files.get(name, name)

    stage: Any = SimpleNamespace(path=path, section=lambda _: ChatConfig.parse(CONFIG), seed=lambda: 1)
    evaluate_chat.main(stage)
    figures: dict[str, Any] = json.loads((folder / "metrics").read_bytes())
    return figures


def test_the_loss_of_both_models_is_on_the_same_dialogues_and_the_base_is_asked_less(tmp_path: Path) -> None:
    turn = Message("user", "Who sang?"), Message("assistant", "The fox sang.")
    dialogues = [Dialogue(turn * (1 + n % 3), (Check(1, "who", ("The fox sang.",)),)) for n in range(13)]
    figures = evaluated(tmp_path, dialogues, base_knows_roles=True)
    chat, base = figures["chat"], figures["base"]
    for name in ("loss", "loss_standard_error", "bits_per_byte", "n_dialogues", "n_tokens"):
        assert chat[name] == base[name], name
    assert chat.keys() == base.keys()
    assert chat["n_dialogues"] == 12  # of the 13
    assert chat["n_answers"] == 4 * (1 + 2 + 3)
    assert base["n_answers"] == 1 + 2  # in the first two dialogues
    assert chat["right_by_kind"]["who"].keys() == {"right", "right_standard_error"}
    assert len(json.loads((tmp_path / "samples_json").read_bytes())) == 12
    assert (tmp_path / "samples").read_text().count("\n## Dialogue ") == 10


def test_what_cannot_be_known_is_null(tmp_path: Path) -> None:
    unknown = Dialogue((Message("user", "Hi."), Message("assistant", "Hello.")))
    figures = evaluated(tmp_path, [unknown], base_knows_roles=False)
    assert figures["base"] is None
    assert figures["chat"]["right_answers"] is None
    assert figures["chat"]["loss"] > 0
