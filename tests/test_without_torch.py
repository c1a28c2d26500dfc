"""Training, and stories from a trained model, where there is no PyTorch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from commands.deps import ROOT
from lm.config.sample import SampleConfig
from lm.formats.model_file import ModelCard, save_model
from lm.generation.texts import continuations, continue_prompts
from lm.reference.initial import initial_weights
from lm.reference.load import load_model
from lm.system.files import sha256
from lm.tokenizer.learning import bytes_alone
from lm.tokenizer.load import load_tokenizer
from tests.small import MODEL, TRAIN, model_config, random_documents, tokenizer_config, write_tokens

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
    module: str, *arguments: str | Path, others: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH.format(["torch", *others], module), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | env)


def write_model(folder: Path, tokenizer_sha256: str | None = None) -> tuple[Path, Path]:
    """A small untrained model of single bytes, and its tokenizer."""
    tokenizer = bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
    tokenizer.save(folder / "tokenizer.json")
    config, vocab_size = model_config(context_length=16), tokenizer.vocab_size
    card = ModelCard(config, vocab_size, tokenizer.end_id, tokenizer_sha256 or tokenizer.sha256, [])
    save_model(folder / "model.safetensors", initial_weights(config, vocab_size, seed=0), card)
    return folder / "model.safetensors", folder / "tokenizer.json"


def test_a_model_tells_stories_without_pytorch(tmp_path: Path) -> None:
    files = write_model(tmp_path)
    told = [
        run_without_torch(
            "commands.generate",
            *files,
            "The fox",
            "--max-new-tokens",
            "40",
            "A hen",
            "--seed",
            seed,
            others=NOT_NEEDED_TO_GENERATE,
        )
        for seed in ("1", "1", "2")
    ]
    assert [one.returncode for one in told] == [0, 0, 0], told[0].stderr
    assert told[0].stdout == told[1].stdout != told[2].stdout
    assert told[0].stdout.startswith("The fox")
    assert "\n\nA hen" in told[0].stdout
    assert len(told[0].stdout) > 60


def test_one_text_is_printed_as_it_is_drawn(tmp_path: Path) -> None:
    model_path, tokenizer_path = write_model(tmp_path)
    (model, card), tokenizer = load_model(model_path), load_tokenizer(tokenizer_path)
    config = SampleConfig.parse(
        {"prompts": ["é"], "max_new_tokens": 30, "temperature": 1.0, "top_k": None, "top_p": None, "device": "cpu"}
    )
    events = list(continue_prompts(model, tokenizer, config, end_id=card.end_id, seed=1))
    flags = ["--max-new-tokens", "30", "--temperature", "1.0", "--top-p", "1.0", "--seed", "1"]
    result = run_without_torch("commands.generate", model_path, tokenizer_path, "é", *flags)
    # Of single bytes drawn at random, many are no characters.
    assert result.stdout == f"é{continuations(tokenizer, ['é'], events)[0]}\n"
    assert len(events) > 5


def test_the_train_stage_trains_in_numpy_without_pytorch_and_repeats_itself(tmp_path: Path) -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
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
            "step-curve": "steps.csv",
            "valid-curve": "valid.csv",
        }
        paths = {"params": tmp_path / "params.yaml"} | inputs | {name: folder / out for name, out in outs.items()}
        flags = [word for name, path in paths.items() for word in (f"--{name}", path)]
        result = run_without_torch("stages.train", *flags, DVC_ROOT=str(folder))
        assert result.returncode == 0, result.stderr
        assert "12 steps; numpy" in result.stderr
        files.append({out: (folder / out).read_bytes() for out in outs.values()})
    assert files[0] == files[1]
    model, card = load_model(tmp_path / "one" / "m.safetensors")
    assert (card.vocab_size, card.tokenizer_sha256) == (50, sha256(tokenizer))
    assert files[0]["t.json"] == tokenizer.read_bytes()
    assert model.config == model_config(dropout=0.1)


ENDS = [("tokens", "bin"), ("card", "json")]


def test_a_mistake_is_one_clear_line(tmp_path: Path) -> None:
    model, tokenizer = write_model(tmp_path)
    mistakes: dict[tuple[str | Path, ...], str] = {
        ("nowhere.safetensors", tokenizer): "nowhere.safetensors: no such file",
        (model, "nowhere.json"): "nowhere.json: no such file",
        (tokenizer, tokenizer): f"{tokenizer}: not a safetensors file: ",
        (tmp_path, tokenizer): f"{tmp_path}: ",
        (model, tokenizer, "--top-k", "0"): "sample.top_k: must be greater than or equal to 1, got 0",
        (
            model,
            tokenizer,
            "x",
            "--temperature",
            "-1",
        ): "sample.temperature: must be greater than or equal to 0,",
        (model, tokenizer, "--seed", "-1"): "seed: must be an integer from 0 to 2**32 - 1, got -1",
    }
    for arguments, message in mistakes.items():
        result = run_without_torch("commands.generate", *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {message}")
        assert result.stderr.count("\n") == 1
    write_model(tmp_path, tokenizer_sha256="cd" * 32)
    result = run_without_torch("commands.generate", model, tokenizer)
    assert result.stderr.startswith(f"error: {tokenizer}: must have the tokenizer of {model}, with the hash ")


def test_parameters_are_checked_and_files_listed_without_what_takes_long_to_load(tmp_path: Path) -> None:
    outs = ["--data-inputs", str(tmp_path / "data.json"), "--tokenizer-inputs", str(tmp_path / "tokenizer.json")]
    others = [*NOT_NEEDED_TO_GENERATE, "numpy", "tokenizers", "safetensors"]
    done = run_without_torch("stages.inputs", "--params", ROOT / "params.yaml", *outs, others=others)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_read_enough_ends_a_generation_quietly(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "commands.generate", *map(str, write_model(tmp_path)), "Once"]
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
