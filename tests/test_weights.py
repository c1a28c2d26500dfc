"""Tests of lm/weights.py."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lm.model.transformer import Transformer
from lm.tokens import TokenCard
from lm.weights import ModelCard, check_same_tokenizer, load_model, save_model
from tests.small import model_config, random_model

VOCAB_SIZE = 23

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "own head": {"tie_embeddings": False},
    "learned positions, biases, layernorm": {"positions": "learned", "bias": True, "norm": "layernorm"},
    "sinusoidal, post-norm, gelu": {"positions": "sinusoidal", "norm_position": "post", "feed_forward": "gelu"},
    "alibi, window, fewer key heads": {"positions": "alibi", "window": 3, "n_kv_heads": 1, "qk_norm": True},
}


def card(**changes: Any) -> ModelCard:
    return ModelCard(model_config(**changes), VOCAB_SIZE, 3, "ab" * 32)


def save_small(path: Path, **changes: Any) -> Transformer:
    model = random_model(VOCAB_SIZE, **changes)
    save_model(path, model.state_dict(), card(**changes))
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_model_comes_back_with_its_card_and_gives_the_same_logits(tmp_path: Path, name: str) -> None:
    model = save_small(tmp_path / "model.safetensors", **CONFIGS[name])
    again, loaded = load_model(tmp_path / "model.safetensors")
    assert loaded == card(**CONFIGS[name])
    assert not again.training
    ids = torch.arange(16).view(2, 8)
    assert torch.equal(again(ids), model(ids))
    assert list(again.state_dict()) == list(model.state_dict())


def test_the_card_of_a_model_follows_its_tokens() -> None:
    tokens = TokenCard(100, 2, 300, VOCAB_SIZE, 3, "ab" * 32)
    assert ModelCard.of(model_config(), tokens) == card()


def test_the_file_is_plain_safetensors_that_explains_itself(tmp_path: Path) -> None:
    model = save_small(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        values = json.loads(file.metadata()["storyline"])
        assert set(file.keys()) == set(model.state_dict())
    assert values == {
        "config": model_config().model_dump(),
        "vocab_size": VOCAB_SIZE,
        "end_id": 3,
        "tokenizer_sha256": "ab" * 32,
    }


SAVE_AGAIN = """
import sys
from pathlib import Path
from tests.test_weights import save_small
save_small(Path(sys.argv[1]), positions="learned", tie_embeddings=False)
"""


def test_the_same_model_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    save_small(tmp_path / "0.safetensors", positions="learned", tie_embeddings=False)
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        path = tmp_path / f"{hash_seed}.safetensors"
        subprocess.run([sys.executable, "-c", SAVE_AGAIN, path], env=env, check=True)
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}) == 1


def save_foreign(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, path, metadata)


def test_a_file_that_is_no_model_of_ours_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    def error() -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared)
            load_model(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value).removeprefix(f"{path}: ")

    assert error() == "no such file"
    path.write_bytes(b"")
    assert error().startswith("not a safetensors file: ")
    path.write_bytes(b"not a model at all, but long enough to hold a header")
    assert error().startswith("not a safetensors file: ")
    save_small(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert error().startswith("not a safetensors file: ")
    save_foreign(path, None)
    assert error() == "must carry its configuration under the metadata key 'storyline', got []"
    save_foreign(path, {"format": "pt"})
    assert error() == "must carry its configuration under the metadata key 'storyline', got ['format']"
    for broken in ("{", "[]", "{}", '{"config": {"d_model": 8}, "vocab_size": 2, "end_id": 0, "tokenizer_sha256": ""}'):
        save_foreign(path, {"storyline": broken})
        assert error().startswith("must carry the card of a model: ")


def test_weights_that_do_not_fit_the_configuration_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights = random_model(VOCAB_SIZE).state_dict()
    del weights["final_norm.weight"]
    save_model(path, weights, card())
    with pytest.raises(ValueError, match=r"model\.safetensors: weights do not fit .*final_norm\.weight") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    save_model(path, random_model(VOCAB_SIZE).state_dict(), card(d_model=32))
    with pytest.raises(ValueError, match=r"model\.safetensors: weights do not fit .*size mismatch"):
        load_model(path)


def test_artefacts_of_different_tokenizers_are_refused() -> None:
    check_same_tokenizer("valid.bin", "ab" * 32, "train.bin", "ab" * 32)
    with pytest.raises(
        ValueError, match=r"^valid\.bin: .* train\.bin was made with \(abababababab\), got cdcdcdcdcdcd$"
    ):
        check_same_tokenizer("valid.bin", "cd" * 32, "train.bin", "ab" * 32)
