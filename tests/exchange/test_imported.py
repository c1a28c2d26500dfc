"""Models of transformers in our format, from folders that the library itself writes, and from a hub on this machine."""

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from commands.export import main as export
from commands.push import main as push
from lm.formats.model_file import load_weights
from lm.model.load import load_model
from lm.tokenizer.load import load_tokenizer
from tests.commands.test_export import trained
from tests.exchange.model_hub import ModelHub, serve
from tests.exchange.test_export import ODD
from tests.model.configs import redraw
from tests.tokenizer.test_tokenizer import tokenizer

bring = importlib.import_module("commands.import").main

VOCAB_SIZE = tokenizer("bpe").vocab_size + 3  # rows that no token has, as in many models
IDS = {"vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    **IDS,
}
GPT2: dict[str, Any] = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, **IDS}
WINDOW: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 5, "layer_types": ["sliding_attention"] * 2}


def their_folder(folder: Path, config: Any) -> Path:
    """A random model and a tokenizer, written by transformers."""
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    redraw(model, seed=4)
    model.save_pretrained(folder)
    definition = tokenizer("bpe").definition.replace("<|endoftext|>", "</s>")
    (folder / "ours.json").write_text(definition)
    names = {"eos_token": "</s>", "bos_token": "</s>"}
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(folder / "ours.json"), **names)  # type: ignore[no-untyped-call]
    theirs.save_pretrained(folder)
    (folder / "ours.json").unlink()
    return folder


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**LLAMA, rms_norm_eps=1e-6, attention_bias=True, mlp_bias=True),
        LlamaConfig(**LLAMA, tie_word_embeddings=True),
        Qwen3Config(**LLAMA, head_dim=8, **WINDOW),
        GPT2Config(**GPT2),
        GPT2Config(**GPT2, activation_function="gelu", n_inner=40, layer_norm_epsilon=1e-3),
        GPT2Config(**GPT2, activation_function="swish", tie_word_embeddings=False),
    ],
    ids=["llama", "llama-tied", "qwen3-window", "gpt2", "gpt2-gelu", "gpt2-swish"],
)
def test_logits_and_ids_are_the_same_here(tmp_path: Path, config: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = their_folder(tmp_path / "theirs", config), tmp_path / "ours"
    bring([str(folder), str(out)])
    assert capsys.readouterr().out.endswith(f" parameters, {VOCAB_SIZE:,} tokens, context 64; written to {out}\n")
    ours, card = load_model(out / "model.safetensors")
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.randint(VOCAB_SIZE, (2, 64), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)

    our_tokenizer, their_tokenizer = load_tokenizer(out / "tokenizer.json"), AutoTokenizer.from_pretrained(folder)
    assert card.end_id == our_tokenizer.end_id == their_tokenizer.eos_token_id
    assert our_tokenizer.vocab_size == VOCAB_SIZE
    for text in ODD:
        if "<|endoftext|>" not in text:  # ordinary text there
            expected = their_tokenizer(text, add_special_tokens=False)["input_ids"]
            assert our_tokenizer.encode(text, allow_special=True) == expected, text


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Llama, written by transformers."""
    return their_folder(tmp_path_factory.mktemp("llama") / "theirs", LlamaConfig(**LLAMA))


def line_of(folder: Path, out: Path) -> str:
    """The error of an import, without the folder, after which nothing is there."""
    with pytest.raises(SystemExit) as error:
        bring([str(folder), str(out)])
    assert not out.exists()
    return str(error.value).replace(str(folder), "")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model_type": "bert"}, "/config.json: model_type: must be one of llama, qwen3, gpt2, got 'bert'"),
        ({"model_type": []}, "/config.json: model_type: must be one of llama, qwen3, gpt2, got []"),
        (
            {"head_dim": 16},
            "/config.json: llama.head_dim: must be 8, because our model has nothing else, got 16",
        ),
        (
            {"rope_parameters": {"rope_type": "llama3"}},
            "/config.json: llama.rope_type: must be 'default', because our model has nothing else, got 'llama3'",
        ),
        ({"rope_parameters": []}, "/config.json: llama.rope_parameters: must be a mapping of parameters, got []"),
        ({"hidden_act": "gelu"}, "/config.json: llama.hidden_act: must be 'silu' or 'swish', got 'gelu'"),
        (
            {"attention_bias": True},
            "/config.json: llama.mlp_bias: must be True, as attention_bias, because our model has one switch for both, "
            "got False",
        ),
        ({"hidden_size": None}, "/config.json: llama.hidden_size: must be a valid integer, got None"),
        (
            {"num_attention_heads": 0},
            "/config.json: llama.num_attention_heads: must be greater than or equal to 1, got 0",
        ),
        ({"vocab_size": "many"}, "/config.json: llama.vocab_size: must be a valid integer, got 'many'"),
        ({"rms_norm_eps": 0.0}, "/config.json: model.norm_eps: must be greater than 0, got 0.0"),
        (
            {"eos_token_id": 9},
            "/tokenizer.json: must have a special token with the id 9, the eos_token_id of config.json",
        ),
        (
            {"model_type": "qwen3", "use_sliding_window": True},
            "/config.json: qwen3.layer_types: must all be 'sliding_attention' beside this window, got full_attention",
        ),
        (
            {"num_hidden_layers": 3},
            ": weights do not fit config.json: model.layers.2.input_layernorm.weight: missing, but "
            "blocks.2.attention_norm.weight needs it",
        ),
        (
            {"num_hidden_layers": 1},
            ": weights do not fit config.json: model.layers.1.input_layernorm.weight: no parameter of this model is "
            "made of it",
        ),
    ],
)
def test_a_model_that_we_cannot_compute_is_one_line(
    llama: Path, tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(llama, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert line_of(folder, tmp_path / "ours") == f"error: {line}"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("config.json", None, "no such file"),
        ("config.json", "[]", "must hold an object, got []"),
        ("model.safetensors", None, "no such file; weights are read from safetensors alone"),
        ("model.safetensors", "abc", "not a safetensors file: Error while deserializing header: header too small"),
        ("model.safetensors.index.json", "{}", "must name the file of each weight under 'weight_map'"),
        ("tokenizer.json", "[]", "not a tokenizer.json: must be an object with a 'model'"),
        ("tokenizer_config.json", "[]", "must hold an object, got []"),
    ],
)
def test_a_broken_file_is_one_line(llama: Path, tmp_path: Path, name: str, content: str | None, line: str) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(llama, folder)
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_text(content)
    assert line_of(folder, tmp_path / "ours") == f"error: /{name}: {line}"


def test_a_folder_without_a_tokenizer_is_one_line(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(llama, folder)
    (folder / "tokenizer.json").unlink()
    line = "error: : must hold tokenizer.json, or vocab.json and merges.txt"
    assert line_of(folder, tmp_path / "ours") == line


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """A hub for models, which the client asks in this test."""
    with serve() as hub:
        for name, value in {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield hub


def test_a_model_travels_through_a_hub_and_comes_back(
    tmp_path: Path, hub: ModelHub, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(tmp_path)
    export([str(model), str(tmp_path / "out")])
    push([str(tmp_path / "out"), "people/fox", "--private"])
    assert capsys.readouterr().out.endswith(f"sent to {hub.endpoint}/people/fox\n")
    assert hub.private == {"people/fox": True}
    page = hub.files["people/fox"]["README.md"].decode()
    assert "# fox\n" in page
    assert 'from_pretrained("people/fox")' in page

    bring(["people/fox", str(tmp_path / "back")])
    there, back = (load_weights(folder / "model.safetensors") for folder in (model, tmp_path / "back"))
    assert back[1].config.model_dump() == there[1].config.model_dump() | {"n_kv_heads": 2, "d_ff": 24}
    assert all((back[0][name] == array).all() for name, array in there[0].items())
    assert load_tokenizer(tmp_path / "back" / "tokenizer.json").end_id == 0


def test_mistakes_with_a_hub_are_one_line(tmp_path: Path, hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def error_of(command: Any, *words: str) -> str:
        with pytest.raises(SystemExit) as error:
            command([*words])
        return str(error.value)

    assert error_of(bring, "people/none", "x") == (
        f"error: people/none: no such repository at {hub.endpoint}; if it is private, "
        "log in with `hf auth login` or set HF_TOKEN"
    )
    assert error_of(bring, "a/b/c", "x").startswith("error: a/b/c: must be a folder, or a repository as OWNER/NAME: ")
    assert error_of(push, str(tmp_path), "people/fox") == (
        f"error: {tmp_path}: must be an export for transformers, got no config.json there"
    )
    folder = tmp_path / "out"
    export([str(trained(tmp_path)), str(folder)])
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert error_of(push, str(folder), "people/fox") == (
        f"error: people/fox: you may not do this at {hub.endpoint}: log in with `hf auth login` or set HF_TOKEN"
    )
