"""Tests of lm/formats/model_file.py."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save, save_file

from lm.formats.model_file import ModelCard, check_same_tokenizer, check_weights, load_weights, save_model
from lm.formats.tokens import TokenCard
from lm.model.load import load_model
from lm.model.transformer import Transformer
from tests.small import model_config, random_model

VOCAB_SIZE = 23
COMPUTED: list[dict[str, Any]] = [{"from_step": 0, "library": "torch 2", "threads": 2, "compile": False}]

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "own head": {"tie_embeddings": False},
    "learned positions, biases, layernorm": {"positions": "learned", "bias": True, "norm": "layernorm"},
    "sinusoidal, post-norm, gelu": {"positions": "sinusoidal", "norm_position": "post", "feed_forward": "gelu"},
    "alibi, window, fewer key heads": {"positions": "alibi", "window": 3, "n_kv_heads": 1, "qk_norm": True},
}


def card(**changes: Any) -> ModelCard:
    return ModelCard(model_config(**changes), VOCAB_SIZE, 3, "ab" * 32, COMPUTED)


def arrays_of(model: Transformer) -> dict[str, NDArray[np.float32]]:
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


def save_small(path: Path, **changes: Any) -> Transformer:
    model = random_model(VOCAB_SIZE, **changes)
    save_model(path, arrays_of(model), card(**changes))
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


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_weights_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    expected = arrays_of(save_small(tmp_path / "model.safetensors", **CONFIGS[name]))
    weights, loaded = load_weights(tmp_path / "model.safetensors")
    assert loaded == card(**CONFIGS[name])
    assert weights.keys() == expected.keys()
    for key, weight in weights.items():
        np.testing.assert_array_equal(weight, expected[key], err_msg=key, strict=True)


def test_weights_of_any_layout_and_precision_are_saved_in_float32(tmp_path: Path) -> None:
    expected = arrays_of(random_model(VOCAB_SIZE))
    turned = {key: np.asarray(weight, dtype=np.float64, order="F") for key, weight in expected.items()}
    assert not turned["embedding.weight"].flags.c_contiguous
    save_model(tmp_path / "model.safetensors", turned, card())
    save_small(tmp_path / "plain.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()


def test_the_card_of_a_model_follows_its_tokens() -> None:
    tokens = TokenCard(100, 2, 300, VOCAB_SIZE, 3, "ab" * 32)
    assert ModelCard.of(model_config(), tokens, COMPUTED) == card()


def test_a_chat_model_is_known_by_its_card_and_files_that_say_nothing_are_none(tmp_path: Path) -> None:
    weights = arrays_of(random_model(VOCAB_SIZE))
    save_model(tmp_path / "chat", weights, replace(card(), chat=True))
    assert load_weights(tmp_path / "chat")[1].chat
    with safe_open(tmp_path / "chat", framework="pt") as file:
        values = json.loads(file.metadata()["storyline"])
    assert values.pop("chat") is True
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    save_file(tensors, tmp_path / "old", {"storyline": json.dumps(values)})
    assert load_weights(tmp_path / "old")[1] == card()


def test_the_file_is_plain_safetensors_that_explains_itself(tmp_path: Path) -> None:
    model = save_small(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        values = json.loads(file.metadata()["storyline"])
        assert set(file.keys()) == set(model.state_dict())
        metadata = file.metadata()
    assert values == {
        "version": 2,
        "config": model_config().model_dump(),
        "vocab_size": VOCAB_SIZE,
        "end_id": 3,
        "tokenizer_sha256": "ab" * 32,
        "computed": COMPUTED,
        "chat": False,
    }
    # NumPy writes the very file that PyTorch does.
    assert (tmp_path / "model.safetensors").read_bytes() == save(model.state_dict(), metadata)


SAVE_AGAIN = """
import sys
from pathlib import Path
from tests.formats.test_model_file import save_small
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
        with pytest.raises(ValueError) as caught_again:  # noqa: PT011 (compared too)
            load_weights(path)
        assert str(caught_again.value) == str(caught.value)
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


@pytest.mark.parametrize("positions", ["sinusoidal", "rope"])
def test_of_the_first_version_models_with_sinusoidal_positions_are_refused(tmp_path: Path, positions: str) -> None:
    path = tmp_path / "model.safetensors"
    model = save_small(path, positions=positions)
    with safe_open(path, framework="pt") as file:
        values = json.loads(file.metadata()["storyline"])

    def save_as(**version: Any) -> None:
        values.pop("version", None)
        save_file(model.state_dict(), path, {"storyline": json.dumps(values | version)})

    save_as()
    if positions == "sinusoidal":
        with pytest.raises(
            ValueError, match=r"model\.safetensors: with sinusoidal positions .*, got version 1; train "
        ):
            load_weights(path)
    else:
        load_weights(path)
    save_as(version=3)
    with pytest.raises(ValueError, match=r"the card of a model: version: must be 1 or 2, got 3$"):
        load_weights(path)


def test_weights_that_do_not_fit_the_configuration_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights = arrays_of(random_model(VOCAB_SIZE))

    def error() -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared)
            load_model(path)
        return str(caught.value).removeprefix(f"{path}: weights do not fit the configuration: ")

    save_model(path, weights, card(d_model=32))
    assert error() == "embedding.weight: must have the shape (23, 32), got (23, 16)"
    save_model(path, weights, card(bias=True))
    assert error() == "blocks.0.attention.qkv.bias: missing"
    save_model(path, weights, card(norm="none"))
    assert error() == "blocks.0.attention_norm.weight: is not a parameter of this model"
    del weights["final_norm.weight"]
    save_model(path, weights, card())
    assert error() == "final_norm.weight: missing"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_a_file_in_another_precision_is_one_clear_error(tmp_path: Path, dtype: torch.dtype) -> None:
    model = save_small(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    path = tmp_path / "other.safetensors"
    save_file({name: weight.to(dtype) for name, weight in model.state_dict().items()}, path, metadata)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: ") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


def test_weights_are_of_one_precision_float32_or_float64() -> None:
    def check(**dtypes: str) -> None:
        weights = arrays_of(random_model(VOCAB_SIZE, n_layers=1))
        changed = {"embedding.weight": dtypes.get("embedding", "float32")}
        arrays = {name: w.astype(changed.get(name, dtypes.get("others", "float32"))) for name, w in weights.items()}
        check_weights(arrays, model_config(n_layers=1), VOCAB_SIZE)

    check()
    check(embedding="float64", others="float64")
    with pytest.raises(ValueError, match=r"^must all be float32, or all float64, got float32, float64$"):
        check(embedding="float64")
    with pytest.raises(ValueError, match=r"^must all be float32, or all float64, got float16$"):
        check(embedding="float16", others="float16")


def test_artefacts_of_different_tokenizers_are_refused() -> None:
    check_same_tokenizer("valid.bin", "ab" * 32, "train.bin", "ab" * 32)
    message = r"^valid\.bin: must have the tokenizer of train\.bin, with the hash abababababab, got cdcdcdcdcdcd$"
    with pytest.raises(ValueError, match=message):
        check_same_tokenizer("valid.bin", "cd" * 32, "train.bin", "ab" * 32)
