"""Training, and stories from a trained model, where there is no PyTorch."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from commands.generate.__main__ import main as generate
from lm.analysis.chat import answers
from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Dialogue, Message
from lm.generation.load import load_trained
from lm.generation.sampling import GREEDY
from lm.reference.load import load_model
from lm.system.files import sha256
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.load import load_tokenizer
from tests.project import ROOT
from tests.small import (
    DOCUMENTS,
    MODEL,
    TRAIN,
    model_config,
    random_documents,
    tokenizer_config,
    write_model,
    write_tokens,
)

# An import of these fails as it does where they are not installed.
WITHOUT_TORCH = """
import sys
from runpy import run_module
for name in {!r}:
    sys.modules[name] = None
run_module({!r}, run_name="__main__")
"""
NOT_NEEDED_TO_GENERATE = ["pandas", "tiktoken", "pyarrow", "huggingface_hub", "dvc", "matplotlib", "tensorboard"]


def run_without_torch(
    module: str, *arguments: str | Path, others: Sequence[str] = (), stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH.format(["torch", *others], module), *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, env=os.environ | env
    )


def test_a_model_tells_stories_without_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path)
    words = [str(tmp_path), "The fox", "--max-new-tokens", "40", "A hen", "--seed", "1"]
    told = run_without_torch("commands.generate", *words, others=NOT_NEEDED_TO_GENERATE)
    assert (told.returncode, told.stderr) == (0, "")
    assert re.match(r"The fox.*\n\nA hen", told.stdout, flags=re.DOTALL)
    assert len(told.stdout) > 60
    assert generate([*words, "--backend", "numpy"]) == 0
    assert capsys.readouterr().out == told.stdout
    refused = run_without_torch("commands.generate", *words, "--backend", "torch")
    assert refused.stderr == (
        "error: --backend: must be 'numpy' or 'auto' where PyTorch is not installed, got 'torch'\n"
    )
    assert refused.returncode == 1


def test_a_chat_model_answers_without_pytorch_and_what_a_terminal_needs(tmp_path: Path) -> None:
    config = tokenizer_config(special_tokens=list(CHAT_TOKENS))
    write_model(tmp_path, learn_bpe(count_texts(DOCUMENTS), config), chat=True, context_length=64)
    others = [*NOT_NEEDED_TO_GENERATE, "prompt_toolkit", "rich"]
    options = ["--max-new-tokens", "8", "--temperature", "0"]
    told = run_without_torch("commands.chat", tmp_path, *options, others=others, stdin="The fox")
    (drawn,) = answers(
        load_trained(tmp_path, backend="numpy").model,
        load_tokenizer(tmp_path / "tokenizer.json"),
        [Dialogue((Message("user", "The fox"), Message("assistant", "")))],
        GREEDY,
        max_new_tokens=8,
        batch_size=1,
        seed=0,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{drawn.text}\n", "")


def test_the_train_stage_trains_in_numpy_without_pytorch_and_repeats_itself(tmp_path: Path) -> None:
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    params["model"] = MODEL | {"dropout": 0.1}
    params["train"] = TRAIN | {"backend": "numpy"}
    YAML().dump(params, tmp_path / "params.yaml")
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("the stage compares its hash, and copies it")
    write_tokens(tmp_path, random_documents(20, 30, 50), vocab_size=50, tokenizer_sha256=sha256(tokenizer))
    inputs = {f"{split}-{what}": tmp_path / f"tokens.{end}" for split in ("train", "valid") for what, end in ENDS}
    inputs["tokenizer"] = tokenizer
    files: list[dict[str, bytes]] = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        outs = {
            "model": "m.safetensors",
            "model-tokenizer": "t.json",
            "metrics": "m.json",
            "snapshots": "snapshots",
            "step-curve": "steps.csv",
            "valid-curve": "valid.csv",
        }
        paths = {"params": tmp_path / "params.yaml"} | inputs | {name: folder / out for name, out in outs.items()}
        flags = [word for name, path in paths.items() for word in (f"--{name}", path)]
        result = run_without_torch("stages.train", *flags, DVC_ROOT=str(folder))
        assert result.returncode == 0, result.stderr
        assert "12 steps; numpy" in result.stderr
        assert not any((folder / outs.pop("snapshots")).iterdir())
        files.append({out: (folder / out).read_bytes() for out in outs.values()})
    assert files[0] == files[1]
    model, card = load_model(tmp_path / "one" / "m.safetensors")
    assert (card.vocab_size, card.tokenizer_sha256) == (50, sha256(tokenizer))
    assert files[0]["t.json"] == tokenizer.read_bytes()
    assert model.config == model_config(dropout=0.1)


ENDS = [("tokens", "bin"), ("card", "json")]


def test_parameters_are_checked_and_files_listed_without_what_takes_long_to_load(tmp_path: Path) -> None:
    names = ("data-inputs", "dialogue-inputs", "tokenizer-inputs", "other-tokenizers", "pairs-inputs")
    outs = [word for name in names for word in (f"--{name}", str(tmp_path / f"{name}.json"))]
    others = [*NOT_NEEDED_TO_GENERATE, "numpy", "tokenizers", "safetensors"]
    done = run_without_torch("stages.inputs", "--params", ROOT / "params.yaml", *outs, others=others)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_read_enough_ends_a_generation_quietly(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "commands.generate", str(write_model(tmp_path)), "Once"]
    process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    program = "import stages, sys\nsys.argv = ['x']\nraise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "stopped\n"
    assert done.returncode != 0
