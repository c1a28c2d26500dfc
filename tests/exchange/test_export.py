"""What is written, as the real libraries read it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from lm.corpus.dialogue import Message
from lm.exchange.export import export_code, export_gguf, export_transformers
from lm.exchange.homes import NoHomeError
from lm.exchange.imported import read_folder, read_tokenizer
from lm.exchange.rewrites import Model
from lm.exchange.transformers_folder import write_folder
from lm.generation.events import collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY
from lm.tokenizer.chat import CHAT_TEMPLATE, prompt_ids, training_ids
from lm.tokenizer.tokenizer import Tokenizer
from tests.model.configs import redraw
from tests.small import DOCUMENTS, random_model
from tests.tokenizer.test_tokenizer import tokenizer
from tests.training.test_dialogues import bpe as with_roles

CONTEXT = 120
GREEDILY = {"do_sample": False}
ODD = [*DOCUMENTS[:3], "", " ", "\n\n  x\t", "<|endoftext|>", "a<|user|>b", "don't 123'll", "\0", "👩‍👩‍👧‍👦 é"]


def exported(vocab_size: int | None = None, **switches: Any) -> tuple[Model, Tokenizer]:
    """A random model that is exported as a Qwen3 unless a switch says otherwise, and its tokenizer."""
    bpe = tokenizer("bpe")
    changes = {"context_length": CONTEXT, "d_model": 64, "d_ff": 96, "n_heads": 4, "n_kv_heads": 2, "qk_norm": True}
    ours = random_model(vocab_size or bpe.vocab_size, **(changes | switches))
    redraw(ours, seed=3)
    return Model(ours.config, {name: p.detach().numpy() for name, p in ours.named_parameters()}), bpe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the default model to transformers."""
    path = tmp_path_factory.mktemp("export") / "theirs"
    model, bpe = exported()
    report = export_transformers(path, model, bpe, "f32", GREEDILY, "# A model\n")
    assert report["architecture"] == "Qwen3ForCausalLM"
    assert 0 <= report["largest_difference_of_logits"] < 1e-4
    return path


def test_ids_are_the_same_on_odd_text(folder: Path) -> None:
    theirs, ours = AutoTokenizer.from_pretrained(folder), tokenizer("bpe")
    for text in ODD:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text, allow_special=True), text
        assert theirs.decode(ours.encode(text)) == text


def test_a_hundred_greedy_tokens_are_the_same(folder: Path) -> None:
    model, bpe = exported()
    prompt = [bpe.end_id, *bpe.encode("Once upon")]
    ours = random_model(bpe.vocab_size, **model.config.model_dump())
    ours.load_state_dict({name: torch.from_numpy(array) for name, array in model.weights.items()})
    events = generate(ours, [prompt], GREEDY, max_new_tokens=100, end_id=bpe.vocab_size, seed=0)  # none ends it
    (ids,) = collect(events, 1)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder)
    read = {"input_ids": torch.tensor([prompt]), "attention_mask": torch.ones(1, len(prompt), dtype=torch.long)}
    longer = theirs.generate(**read, max_new_tokens=100, eos_token_id=None)
    assert longer[0, len(prompt) :].tolist() == ids
    assert len(set(ids)) > 5


def test_a_pipeline_generates_text(folder: Path) -> None:
    generator = pipeline("text-generation", model=str(folder))
    (result,) = generator("Once upon a time", max_new_tokens=5)
    assert result["generated_text"].startswith("Once upon a time")


TALK = [
    Message("system", "Be good.\n"),
    Message("user", "  Tell me, “fox”:\n\nwhy?  "),
    Message("assistant", "I don't know 123 {{ x }}."),
    Message("user", ""),
]


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a chat model to transformers."""
    path, roles = tmp_path_factory.mktemp("export") / "theirs", with_roles()
    model, _ = exported(vocab_size=roles.vocab_size)
    export_transformers(path, model._replace(chat=True), roles, "f32", GREEDILY, "")
    return path


def test_their_template_gives_the_ids_of_our_dialogues(chat_folder: Path) -> None:
    theirs: Any = AutoTokenizer.from_pretrained(chat_folder)
    ours = with_roles()
    talk = [{"role": message.role, "content": message.content} for message in TALK]
    for n in range(1, len(talk) + 1):
        asked = theirs.apply_chat_template(talk[:n], add_generation_prompt=True)["input_ids"]
        assert asked == prompt_ids(ours, TALK[:n])
        assert theirs.apply_chat_template(talk[:n])["input_ids"] == training_ids(ours, TALK[:n])[0].tolist()
    assert theirs.eos_token == "<|end|>"


def test_a_chat_model_comes_back_as_one(chat_folder: Path, tmp_path: Path) -> None:
    back = read_folder(chat_folder)
    assert back.chat
    again = read_tokenizer(chat_folder, back.vocab_size)
    assert again.special_tokens == with_roles().special_tokens
    AutoTokenizer.from_pretrained(chat_folder).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(chat_folder / name)
    assert read_folder(tmp_path).chat


def test_a_pipeline_answers_and_stops_where_the_turn_ends(chat_folder: Path) -> None:
    chat: Any = pipeline("text-generation", model=str(chat_folder))
    roles = with_roles()
    ends = [roles.special_tokens["<|end|>"], roles.end_id]
    assert chat.model.generation_config.eos_token_id == ends
    (result,) = chat([{"role": "user", "content": "the cat"}], max_new_tokens=5)
    assert [message["role"] for message in result["generated_text"]] == ["user", "assistant"]


def test_a_gguf_file_of_a_chat_model_says_how_it_talks(tmp_path: Path) -> None:
    roles = with_roles()
    model, _ = exported(vocab_size=roles.vocab_size)
    export_gguf(tmp_path / "gguf", model._replace(chat=True), roles, "f32", "m")
    fields = GGUFReader(tmp_path / "gguf" / "m-f32.gguf").fields
    assert fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE
    for kind in ("eos", "eot"):
        assert fields[f"tokenizer.ggml.{kind}_token_id"].contents() == roles.special_tokens["<|end|>"]
    assert fields["tokenizer.ggml.bos_token_id"].contents() == roles.end_id


@pytest.mark.parametrize(("dtype", "least", "most"), [("bf16", 1e-3, 0.5), ("f16", 1e-4, 0.05), ("q8_0", 1e-3, 0.5)])
def test_smaller_types_round_and_the_report_says_how_much(
    tmp_path: Path, dtype: Any, least: float, most: float
) -> None:
    model, bpe = exported()
    reports = [export_gguf(tmp_path / "gguf", model, bpe, dtype, "m")]
    if dtype != "q8_0":
        reports.append(export_transformers(tmp_path / "t", model, bpe, dtype, GREEDILY, ""))
    for report in reports:
        assert report["dtype"] == dtype
        assert least < report["largest_difference_of_logits"] < most


@pytest.mark.parametrize(
    ("architecture", "switches"),
    [
        ("llama", {"qk_norm": False, "bias": True}),
        ("qwen3", {"base_width": 16}),
        ("arcee", {"qk_norm": False, "feed_forward": "relu2"}),
        ("refact", {"qk_norm": False, "positions": "alibi"}),
        ("gpt2", {"qk_norm": False, "norm": "layernorm", "positions": "sinusoidal", "feed_forward": "gelu_tanh"}),
        ("starcoder2", {"qk_norm": False, "norm": "layernorm", "feed_forward": "gelu_tanh"}),
        ("nemotron", {"qk_norm": False, "norm": "layernorm", "feed_forward": "relu2"}),
        ("mpt", {"qk_norm": False, "norm": "layernorm", "positions": "alibi", "feed_forward": "gelu_tanh"}),
    ],
)
def test_a_gguf_file_holds_the_same_model(tmp_path: Path, architecture: str, switches: dict[str, Any]) -> None:
    model, bpe = exported(**switches)
    report = export_gguf(tmp_path / "gguf", model, bpe, "f32", "m")
    assert report["architecture"] == architecture
    assert report["largest_difference_of_logits"] < 1e-4
    reader = GGUFReader(tmp_path / "gguf" / "m-f32.gguf")
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == bpe.end_id
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens[bpe.end_id] == "<|endoftext|>"
    assert len(tokens) == bpe.vocab_size


def test_exact_gelu_is_written_as_its_approximation_and_the_report_shows_the_error(tmp_path: Path) -> None:
    model, bpe = exported(qk_norm=False, norm="layernorm", positions="learned", feed_forward="gelu")
    report = export_gguf(tmp_path / "gguf", model, bpe, "f32", "m")
    assert 1e-4 < report["largest_difference_of_logits"] < 0.1


def test_a_window_shortens_the_context_of_a_gguf_file(tmp_path: Path) -> None:
    model, bpe = exported(window=16)
    report = export_gguf(tmp_path / "gguf", model, bpe, "f32", "m")
    assert report["context_length"] == 16
    assert report["largest_difference_of_logits"] < 1e-4


@pytest.mark.parametrize(
    ("switches", "line"),
    [
        (
            {"norm": "none"},
            "model: no architecture of transformers computes this combination of switches; the nearest, "
            "Qwen3ForCausalLM, needs norm: rmsnorm",
        ),
        (
            {"norm_position": "post", "qk_norm": False},
            "model: no architecture of transformers computes this combination of switches; the nearest, "
            "LlamaForCausalLM, needs norm_position: pre",
        ),
    ],
)
def test_a_model_without_a_home_is_refused_and_nothing_is_written(
    tmp_path: Path, switches: dict[str, Any], line: str
) -> None:
    model, bpe = exported(**switches)
    with pytest.raises(NoHomeError) as error:
        export_transformers(tmp_path / "out", model, bpe, "f32", GREEDILY, "")
    assert str(error.value) == line
    assert list(tmp_path.iterdir()) == []


def test_biases_that_llama_cpp_would_ignore_are_refused(tmp_path: Path) -> None:
    model, bpe = exported(qk_norm=False, positions="alibi", bias=True)
    with pytest.raises(NoHomeError, match=r"the nearest, (llama, needs positions: rope|refact, needs bias: False)$"):
        export_gguf(tmp_path / "out", model, bpe, "f32", "m")


def test_sines_that_are_scaled_by_mup_are_written_too(tmp_path: Path) -> None:
    model, bpe = exported(qk_norm=False, norm="layernorm", positions="sinusoidal", feed_forward="relu2", base_width=16)
    report = export_transformers(tmp_path / "out", model, bpe, "f32", GREEDILY, "")
    assert report["architecture"] == "GPT2LMHeadModel"
    assert report["largest_difference_of_logits"] < 1e-4


def test_any_model_can_be_written_with_our_code(tmp_path: Path) -> None:
    model, bpe = exported(norm="none", positions="alibi", window=7)
    report = export_code(tmp_path / "out", model, bpe, "f32", GREEDILY, "")
    assert report["architecture"] == "StorylineForCausalLM"
    assert report["largest_difference_of_logits"] == 0
    generator = pipeline("text-generation", model=str(tmp_path / "out"), trust_remote_code=True)
    prompt = "Once upon" + 2 * CONTEXT * " a"  # more than the context holds
    (result,) = generator(prompt, max_new_tokens=2)
    assert result["generated_text"].startswith(prompt)


def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(tmp_path: Path) -> None:
    model, _ = exported()
    with pytest.raises(NoHomeError, match=r"tokenizer: llama\.cpp has no such tokenizer"):
        export_gguf(tmp_path / "out", model, tokenizer("library"), "f32", "m")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_written_wrong_is_not_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, bpe = exported()

    def write_wrong(folder: Path, home: Any, model: Model, *others: Any) -> None:
        weights = {**model.weights, "embedding.weight": np.roll(model.weights["embedding.weight"], 1, axis=0)}
        write_folder(folder, home, model._replace(weights=weights), *others)

    monkeypatch.setattr("lm.exchange.export.write_folder", write_wrong)
    with pytest.raises(ValueError, match=r"must be those of our model within 0\.0\d+, got a difference of"):
        export_transformers(tmp_path / "out", model, bpe, "f32", GREEDILY, "")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_holds_what_the_hub_reads(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert json.loads((folder / "generation_config.json").read_text())["do_sample"] is False
    theirs, end_id = AutoTokenizer.from_pretrained(folder), tokenizer("bpe").end_id
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text())
        for kind in ("bos", "eos", "pad"):
            assert settings[f"{kind}_token_id"] == getattr(theirs, f"{kind}_token_id") == end_id
    assert (folder.stat().st_mode & 0o777) == 0o755
