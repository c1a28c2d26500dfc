"""The command that exports."""

from pathlib import Path
from typing import Any

import pytest

from commands.export import main
from lm.formats.model_file import ModelCard, save_model
from tests.small import random_model
from tests.tokenizer.test_tokenizer import tokenizer


def trained(folder: Path, **switches: Any) -> Path:
    """A folder with a random model and its tokenizer."""
    bpe = tokenizer("bpe")
    ours = random_model(bpe.vocab_size, **switches)
    card = ModelCard(ours.config, bpe.vocab_size, bpe.end_id, bpe.sha256, [])
    path = folder / "fox" / "model.safetensors"
    save_model(path, {name: p.detach().numpy() for name, p in ours.named_parameters()}, card)
    bpe.save(path.with_name("tokenizer.json"))
    return path.parent


def test_a_folder_is_exported_and_the_last_line_says_what_came_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = trained(tmp_path, window=4), tmp_path / "out"
    for _ in range(2):  # the second takes the place of the first
        main([str(model), str(out), "--format", "gguf", "--dtype", "f32"])
        line = capsys.readouterr().out
        assert line.startswith("llama in f32, whose context ends at 4 tokens, because of the window: logits within ")
        assert line.endswith(f" of ours; written to {out}\n")
        assert [path.name for path in out.iterdir()] == ["fox-f32.gguf"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["missing", "out"], "missing: no such file; name a folder that holds model.safetensors, or a model file"),
        (["fox", "full"], "full: must be empty or an earlier export, got a folder with other files"),
        (["fox", "full/file"], "full/file: must be a folder, or not be there, got a file"),
        (["fox", "out", "--dtype", "q8_0"], "dtype: must be f32, bf16 or f16 for transformers, got q8_0"),
        (["fox", "out", "--dtype=q8_0", "--format=gguf"], "model.d_model: must be a multiple of 32 for q8_0, got 16"),
        (["fox", "out", "--code", "--format", "gguf"], "--code: must go with --format transformers, got gguf"),
        (
            ["fox", "out"],
            "model: no architecture of transformers computes this combination of switches; the nearest, "
            "LlamaForCausalLM, needs norm: rmsnorm; with --code our own code is written beside the weights",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    trained(tmp_path, norm="none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(words)
    assert str(error.value) == f"error: {line}"
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "file").read_text() == "mine"
