"""Tests of lm/generation/texts.py and commands/generate.py: what is shown of a text that a model has written."""

from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from commands.generate import generate, main
from lm.config.sample import SampleConfig
from lm.config.special_tokens import END_OF_TEXT
from lm.formats.model_file import ModelCard, save_model
from lm.generation.events import End, Event, Token, collect
from lm.generation.texts import continuation, continuations, continue_prompts
from lm.reference.initial import initial_weights
from lm.reference.load import load_model
from lm.tokenizer.learning import bytes_alone
from lm.tokenizer.load import parse_tokenizer
from tests.small import model_config, tokenizer_config

WORDS = ["<unk>", END_OF_TEXT, "a", "fox", "met", "hen", "dog", "the", "and", "sang"]
BYTES = bytes_alone(tokenizer_config(kind="byte"))


def words() -> tokenizers.Tokenizer:
    """Words between spaces, which decoding puts between them again."""
    library = tokenizers.Tokenizer(models.WordLevel({word: id for id, word in enumerate(WORDS)}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.add_special_tokens(["<unk>", END_OF_TEXT])
    return library


@pytest.mark.parametrize("prompts", [["a fox"], ["a fox", "", "the hen and"]])
def test_prompt_and_continuation_are_decoded_as_one_text(
    prompts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, config, seed = words(), model_config(), 3
    tokenizer = parse_tokenizer(library.to_str())
    tokenizer.save(tmp_path / "tokenizer.json")
    card = ModelCard(config, len(WORDS), tokenizer.end_id, tokenizer.sha256, [])
    save_model(tmp_path / "model.safetensors", initial_weights(config, len(WORDS), seed=0), card)
    sample = SampleConfig.parse(
        {"prompts": prompts, "max_new_tokens": 5, "temperature": 1, "top_k": None, "top_p": None, "device": "cpu"}
    )
    generate(tmp_path / "model.safetensors", tmp_path / "tokenizer.json", sample, seed)
    model, _ = load_model(tmp_path / "model.safetensors")
    rows = collect(continue_prompts(model, tokenizer, sample, end_id=1, seed=seed), len(prompts))
    assert max(map(len, rows)) > 2
    expected = [
        library.decode(library.encode(prompt).ids + ids, skip_special_tokens=False)
        for prompt, ids in zip(prompts, rows, strict=True)
    ]
    assert capsys.readouterr().out == "\n\n".join(expected) + "\n"


def events(text: bytes, *, complete: bool, row: int = 0) -> list[Event]:
    return [
        *(Token(row, BYTES.encode_block(bytes([byte]))[0].item()) for byte in text),
        End(row, "model" if complete else "length"),
    ]


def test_half_a_character_at_the_end_is_shown_if_the_model_ended_the_text_there_and_left_out_if_the_limit_did() -> None:
    half = "a é".encode()[:-1]
    assert "".join(continuation(BYTES, "the", events(half, complete=False))) == "a "
    assert "".join(continuation(BYTES, "the", events(half, complete=True))) == "a \ufffd"
    assert "".join(continuation(BYTES, "the", events(b"a\xc3b", complete=False))) == "a\ufffdb"  # no character at all
    assert "".join(continuation(BYTES, "the", events("é".encode(), complete=False))) == "é"


def test_each_row_gets_the_text_of_its_own_tokens() -> None:
    first, second = events("é!".encode(), complete=True), events("狐狸".encode()[:-1], complete=False, row=1)
    mixed = [event for pair in zip(first, second, strict=False) for event in pair] + second[len(first) :]
    assert continuations(BYTES, ["the", "a"], mixed) == ["é!", "狐"]
    assert list(continuation(BYTES, "the", first)) == ["", "é", "!", ""]


def test_running_out_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("commands.generate.generate", fail)
    monkeypatch.setattr("sys.argv", ["generate", "model.safetensors", "tokenizer.json", "a fox", "the hen"])
    with pytest.raises(SystemExit, match=r"^error: prompts: 2 texts at once, .* do not fit into memory; give fewer"):
        main()
