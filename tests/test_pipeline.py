"""The whole pipeline on micro parameters, with the real `dvc`: results, repetition, interruption, errors."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tokenizers
import torch
from ruamel.yaml import YAML

from lm.tokenizer.load import load_tokenizer
from tests.project import load_pipeline
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

SAVE_AT_EVERY_STEP = {"STORYLINE_SAVE_EVERY_S": "0"}


@pytest.fixture(scope="module")
def finished(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after `dvc repro`. Tests that change it put it back."""
    return micro.copy(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def up_to_tokens(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the stages of a base model, done before training. No test changes it."""
    workspace = micro.copy(tmp_path_factory.mktemp("up_to_tokens"))
    workspace.only("vocabulary", "evaluate", "sample")
    workspace.undo(["train", "evaluate", "sample"])
    workspace.commit()
    return workspace


@pytest.fixture
def encoded(up_to_tokens: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it."""
    return up_to_tokens.copy(tmp_path)


def trainers(workspace: Workspace) -> list[int]:
    """Processes that train in this workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"stages.train" in (process / "cmdline").read_bytes() and (process / "cwd").readlink() == workspace.path:
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


def test_every_out_is_there_and_makes_sense(finished: Workspace) -> None:
    outs = finished.out_hashes()
    assert len(outs) == sum(
        len(stage.get("outs", [])) + len(stage.get("metrics", [])) for stage in load_pipeline()["stages"].values()
    )
    assert all((finished.path / out).stat().st_size > 0 for out in outs)

    card = json.loads(finished.read("data/raw/card.json"))
    assert (card["train"]["n_documents"], card["valid"]["n_documents"]) == (200, 20)
    evaluation = json.loads(finished.read("metrics/evaluate.json"))
    assert evaluation["n_bytes"] == card["valid"]["n_bytes"]
    assert evaluation["floor_bits_per_byte"] == pytest.approx(
        card["valid_floor_bits_per_byte"], rel=1e-12
    )  # summed in another order
    assert 0 < evaluation["excess_bits_per_byte"] < 8 - card["valid_floor_bits_per_byte"]
    tokens = np.memmap(finished.path / "data/tokens/valid.bin", dtype=np.uint16, mode="r")
    assert len(tokens) == evaluation["n_tokens"]
    assert pd.read_csv(finished.path / "plots/train.csv")["step"].tolist() == list(range(5, 121, 5))
    assert pd.read_csv(finished.path / "plots/valid.csv")["step"].tolist() == [20, 40, 60, 80, 100, 120]
    markdown, samples = finished.read("samples/base.md").decode(), json.loads(finished.read("samples/base.json"))
    assert markdown.count("Once upon a time") >= 1
    settings = {"max_new_tokens": 20, "temperature": 0.8, "top_k": None, "top_p": 0.95, "min_p": None}
    assert samples["settings"].items() >= settings.items()
    assert samples["seed"] == 1337
    tokenizer = load_tokenizer(finished.path / "data/tokenizer.json")
    assert [sample["prompt"] for sample in samples["samples"]] == ["", "Once upon a time", "One rainy morning"]
    for sample in samples["samples"]:
        assert tokenizer.decode(sample["ids"]) == sample["text"]
        assert sample["text"].split("\n")[0] in markdown


def test_how_a_run_is_drawn_changes_no_model(finished: Workspace) -> None:
    before = finished.out_hashes()
    finished.set("observe", log_every=30, tensorboard=True)
    try:
        output = finished.run("dvc", "repro")
        assert "Running stage 'plot'" in output
        assert "Running stage 'train'" not in output
        after = finished.out_hashes()
        changed = {path for path, md5 in before.items() if after[path] != md5}
        assert "plots/train.csv" in changed
        names = ("train.csv", "loss.png", "learning_rate.png", "gradient_norm.png")
        assert changed <= {f"plots/{name}" for name in (*names, "finetune_train.csv", "finetune_loss.png")}
        assert pd.read_csv(finished.path / "plots/train.csv")["step"].tolist() == [30, 60, 90, 120]
    finally:
        finished.set("observe", log_every=5, tensorboard=False)
        finished.run("dvc", "repro")
    assert finished.out_hashes() == before


def timing(workspace: Workspace) -> dict[str, Any]:
    """How long the training in a workspace took, as the train stage noted it."""
    name = workspace.out_hashes()["plots/steps.csv"]
    return dict(json.loads(workspace.read(f".timings/{name}.json")))


def test_how_long_training_took_is_noted_beside_the_outs(finished: Workspace) -> None:
    noted = timing(finished)
    assert noted["steps"][-1] == 120
    assert noted["elapsed_s"] == sorted(noted["elapsed_s"])
    assert noted["elapsed_s"][0] > 0
    assert ".timings" not in finished.run("git", "status", "--porcelain", "--untracked-files=all")


def test_a_second_repro_runs_nothing_but_the_stage_that_looks_at_files(finished: Workspace) -> None:
    output = finished.run("dvc", "repro")
    assert output.count("Running stage") == 1
    assert "Running stage 'inputs'" in output
    assert finished.run("dvc", "status", "--json").count("always changed") == 1
    assert finished.run("git", "status", "--porcelain") == ""


def test_an_edit_of_code_runs_the_stages_that_import_the_file_and_no_others(finished: Workspace) -> None:
    before = {name: finished.read(name) for name in ("dvc.lock", "lm/tokenizer/encode_file.py")}
    (finished.path / "lm/tokenizer/encode_file.py").write_bytes(before["lm/tokenizer/encode_file.py"] + b"# edited\n")
    assert json.loads(finished.run("dvc", "status", "--json"))["code"] == [{"changed deps": {"lm": "modified"}}]
    assert set(re.findall("Running stage '(.*)'", finished.run("dvc", "repro"))) == {"code", "inputs", "encode"}
    (finished.path / "lm/tokenizer/encode_file.py").write_bytes(before["lm/tokenizer/encode_file.py"])
    finished.run("dvc", "repro")
    assert finished.read("dvc.lock") == before["dvc.lock"]


def kill_all(process: subprocess.Popen[str], workspace: Workspace) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (workspace.path / "models/base/model.safetensors").exists()


def press_ctrl_c(process: subprocess.Popen[str], workspace: Workspace) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to dvc and to the stage
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert f"stopped after step {workspace.steps_saved()}; the same run goes on from there" in output
    assert "Traceback" not in output
    assert not (workspace.path / "models/base/model.safetensors").exists()


def test_a_trainer_stopped_and_killed_goes_on_and_gives_the_same_bytes(finished: Workspace, encoded: Workspace) -> None:
    # Early ones of the 120, because the trainer goes on until it is stopped.
    steps = sorted(random.Random(0).sample(range(2, 30), k=2))
    for step, stop in zip(steps, (press_ctrl_c, kill_all), strict=True):
        process = encoded.start("dvc", "repro", "train", **SAVE_AT_EVERY_STEP)
        encoded.wait_for_step(max(step, encoded.steps_saved() + 1), process)
        stop(process, encoded)
    assert f"resumed after step {encoded.steps_saved()}" in encoded.run("dvc", "repro", "train")
    outs = encoded.out_hashes()
    assert "models/base/model.safetensors" in outs
    assert outs == {name: md5 for name, md5 in finished.out_hashes().items() if name in outs}
    assert timing(encoded)["steps"][-1] == timing(finished)["steps"][-1]
    assert timing(encoded)["elapsed_s"] == sorted(timing(encoded)["elapsed_s"])

    # As if dvc had been killed after training, before it had hashed the outs and cached them.
    encoded.undo(["train"])
    assert "resumed after step 120" in encoded.run("dvc", "repro", "train")
    assert {name: encoded.out_hashes()[name] for name in outs} == outs
    encoded.run("dvc", "repro", "--single-item", "inputs")  # the next stage finds them in dvc.lock
    assert not list(encoded.path.glob(".resume/*"))


def test_a_trainer_ends_when_dvc_is_killed_and_a_damaged_state_gives_one_line(encoded: Workspace) -> None:
    encoded.set("train", backend="numpy", steps=1000)  # more than it takes until it sees that dvc is gone
    process = encoded.start("dvc", "repro", "train", **SAVE_AT_EVERY_STEP)
    encoded.wait_for_step(3, process)
    assert len(trainers(encoded)) == 1
    process.kill()
    deadline = time.monotonic() + 60
    while trainers(encoded):
        assert time.monotonic() < deadline, "the trainer outlived dvc"
        time.sleep(0.1)
    process.communicate()

    (state,) = encoded.path.glob(".resume/*/state.npz")
    state.write_bytes(state.read_bytes()[:1000])
    output = encoded.run("dvc", "repro", "--single-item", "train", status=255)
    assert [line for line in output.splitlines() if "error: " in line and "is damaged" in line]
    assert "Traceback" not in output


def test_an_experiment_in_a_temporary_copy_resumes_too_and_so_does_numpy(encoded: Workspace) -> None:
    encoded.set("train", backend="numpy", steps=100)
    encoded.set("model", dropout=0.1)
    encoded.commit()
    process = encoded.start("dvc", "repro", "train", **SAVE_AT_EVERY_STEP)
    encoded.wait_for_step(3, process)
    kill_all(process, encoded)
    encoded.run("git", "checkout", "--quiet", ".")
    assert "resumed after step" in encoded.run("dvc", "exp", "run", "--temp", "--name", "copy", "train")
    assert "Stage 'train' is cached" in encoded.run("dvc", "repro", "train")
    resumed = encoded.out_hashes()
    assert "resumed" not in encoded.run("dvc", "repro", "--force", "--single-item", "train")
    assert encoded.out_hashes() == resumed


def test_an_experiment_whose_parameters_are_changed_ends_and_no_step_is_lost(encoded: Workspace) -> None:
    encoded.set("train", backend="numpy", steps=20_000)
    encoded.commit()
    first = ("dvc", "exp", "run", "--name", "first", "-S", "train.learning_rate=0.01", "train")
    process = encoded.start(*first, STORYLINE_PATIENCE_S="1", **SAVE_AT_EVERY_STEP)
    encoded.wait_for_step(3, process)
    encoded.set("sample", temperature=0.5)  # as a second `dvc exp run` does, although it is refused
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    step = encoded.steps_saved()
    assert f"stopped after step {step}; the same run goes on from there" in output
    assert "error: params.yaml: sample.temperature: must stay 0.8 until the stage ends, " in output
    assert not (encoded.path / "models/base/model.safetensors").exists()

    encoded.set("sample", temperature=0.8)
    process = encoded.start(*first, **SAVE_AT_EVERY_STEP)
    encoded.wait_for_step(step + 1, process)
    os.killpg(process.pid, signal.SIGINT)
    assert f"resumed after step {step}" in process.communicate(timeout=120)[0]


def test_the_first_stage_finds_mistakes_in_all_sections(encoded: Workspace) -> None:
    encoded.set("model", d_model=33)
    encoded.set("sample", top_k=0)
    encoded.set("train", device="gpu", stepz=5)
    assert encoded.run_stages("inputs", status=1).splitlines() == [
        "error: model.d_model: must be a multiple of n_heads=2, got 33",
        "error: sample.top_k: must be greater than or equal to 1, got 0",
        "error: train.device: must be 'auto', 'cpu', 'cuda' or 'mps', got 'gpu'",
        "error: train.stepz: unknown parameter, did you mean train.steps?",
    ]


def test_the_first_stage_refuses_a_device_that_is_not_here_unless_the_result_is(finished: Workspace) -> None:
    before = {name: finished.read(name) for name in ("params.yaml", "dvc.lock")}
    inputs = shlex.split(load_pipeline()["stages"]["inputs"]["cmd"])[1:]
    yaml = YAML()
    lock = yaml.load(finished.path / "dvc.lock")
    try:
        finished.set("evaluate", device="cuda")
        finished.set("chat", device="cuda")
        assert finished.run(*inputs, status=1, CUDA_VISIBLE_DEVICES="").splitlines() == [
            "error: evaluate.device: must be one that this machine has, or 'auto', got 'cuda'",
            "error: chat.device: must be one that this machine has, or 'auto', got 'cuda'",
        ]
        lock["stages"]["evaluate"]["params"]["params.yaml"]["evaluate"]["device"] = "cuda"
        lock["stages"]["evaluate_chat"]["params"]["params.yaml"]["chat"]["device"] = "cuda"
        yaml.dump(lock, finished.path / "dvc.lock")
        finished.run(*inputs, CUDA_VISIBLE_DEVICES="")
    finally:
        for name, content in before.items():
            (finished.path / name).write_bytes(content)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "byte"},
        {"kind": "char", "vocab_size": 40, "special_tokens": ["<|user|>"]},
        {"kind": "pretrained", "pretrained": "words.json"},
    ],
    ids=lambda values: values["kind"],
)
def test_every_kind_of_tokenizer_goes_all_the_way(
    finished: Workspace, encoded: Workspace, values: dict[str, Any]
) -> None:
    words = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({"<unk>": 0, "the": 1, "##y": 2, ".": 3}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    words.save(str(encoded.path / "words.json"))
    encoded.set("tokenizer", **values)
    encoded.set("train", steps=20)
    encoded.run_stages("inputs", "tokenizer", "encode", "vocabulary", "train", "evaluate", "sample")
    evaluation = json.loads(encoded.read("metrics/evaluate.json"))
    assert evaluation["n_bytes"] == json.loads(finished.read("metrics/evaluate.json"))["n_bytes"]
    assert evaluation["bits_per_byte"] > 0
    assert len(encoded.read("samples/base.md")) > 150


def test_an_edit_to_a_pretrained_tokenizer_is_seen(encoded: Workspace) -> None:
    file = encoded.path / "mine.json"
    file.write_bytes(encoded.read("data/tokenizer.json"))
    encoded.set("tokenizer", kind="pretrained", pretrained="mine.json")
    assert "Running stage 'tokenizer'" in encoded.run("dvc", "repro", "tokenizer")
    assert json.loads(encoded.read("metrics/tokenizer.json"))["vocab_size"] == 400
    assert encoded.run("dvc", "repro", "tokenizer").count("Running stage") == 1
    file.write_text(file.read_text().replace('"<|endoftext|>"', '"<|stop|>"'))
    assert "Running stage 'tokenizer'" in encoded.run("dvc", "repro", "tokenizer")
    assert json.loads(encoded.read("metrics/tokenizer.json"))["vocab_size"] == 401


def test_both_trainers_write_the_same_file(finished: Workspace, encoded: Workspace) -> None:
    encoded.set("tokenizer", trainer="huggingface")
    assert "Running stage 'tokenizer'" in encoded.run("dvc", "repro", "tokenizer")
    assert encoded.out_hashes()["data/tokenizer.json"] == finished.out_hashes()["data/tokenizer.json"]


def test_a_change_in_a_local_file_reruns_the_pipeline(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "repository")
    text = tmp_path / "stories.txt"
    text.write_text("".join(f"The cat number {i} sat on the mat.\n<|endoftext|>\n" for i in range(300)))
    workspace.set("data", source="files", train=["../*.txt"], valid_fraction=0.2)
    workspace.run("dvc", "repro", "download")
    before = workspace.out_hashes()
    assert workspace.run("dvc", "repro", "download").count("Running stage") == 1
    text.write_text(text.read_text() + "One dog more.\n<|endoftext|>\n")
    assert "Running stage 'download'" in workspace.run("dvc", "repro", "download")
    assert workspace.out_hashes() != before


@pytest.mark.parametrize(
    ("section", "values", "stage", "message"),
    [
        ("train", {"stepz": 5}, "train", "train.stepz: unknown parameter"),
        ("train", {"device": "cuda"}, "train", "device: must be one that this machine has"),
        ("train", {"learning_rate": "fast"}, "train", "train.learning_rate: must be a valid number, got 'fast'"),
        ("train", {"learning_rate": 1e30, "clip_norm": None}, "train", "loss and gradient norm must stay finite"),
        ("train", {"backend": "numpy", "precision": "bf16"}, "train", "train.precision: must be auto or fp32 with"),
        ("train", {"backend": "numpy", "learning_rate": 1e30, "clip_norm": None}, "train", "must stay finite"),
        ("model", {"d_model": 33}, "train", "model.d_model: must be a multiple of n_heads=2, got 33"),
        ("model", {"context_length": 100_000}, "train", "must hold at least context_length + 1 = 100001 tokens"),
        (
            "tokenizer",
            {"kind": "pretrained", "pretrained": "nowhere.json"},
            "tokenizer",
            "tokenizer.pretrained: must be the path of a tokenizer.json",
        ),
        ("tokenizer", {"vocab_size": 70_000}, "inputs", "tokenizer.vocab_size: must be less than or equal to 65536"),
        ("data", {"source": "files", "train": ["nowhere.txt"]}, "inputs", "must match at least one file"),
    ],
)
def test_a_mistake_gives_one_line_and_leaves_no_out(
    encoded: Workspace, section: str, values: dict[str, object], stage: str, message: str
) -> None:
    if torch.cuda.is_available() and values.get("device") == "cuda":
        pytest.skip("this machine has CUDA")
    outs = [encoded.path / out for out in load_pipeline()["stages"][stage]["outs"]]
    for out in outs:  # as dvc does before a stage
        out.unlink(missing_ok=True)
    encoded.set(section, **values)
    output = encoded.run_stages(stage, status=1)
    (error,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert message in error
    assert "Traceback" not in output
    assert not any(out.exists() for out in outs)


@pytest.mark.parametrize(
    ("section", "values", "stage", "message"),
    [
        ("data", {"source": "files", "train": ["nowhere.txt"]}, "inputs", "must match at least one file"),
        ("train", {"stepz": 5}, "train", "train.stepz: unknown parameter"),
    ],
)
def test_a_mistake_that_a_stage_finds_stops_dvc(
    encoded: Workspace, section: str, values: dict[str, object], stage: str, message: str
) -> None:
    encoded.set(section, **values)
    output = encoded.run("dvc", "repro", stage, status=255)
    (error,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert message in error
    assert "Traceback" not in output
    for out in load_pipeline()["stages"][stage]["outs"]:
        assert not (encoded.path / out).exists()


def test_a_full_disk_gives_one_line_and_leaves_no_out(encoded: Workspace) -> None:
    shutil.rmtree(encoded.path / "data/tokens")
    command = f"ulimit -f 8; {load_pipeline()['stages']['encode']['cmd']}"  # no file above 8 blocks
    assert encoded.run("bash", "-c", command, status=1) == "error: [Errno 27] File too large\n"
    assert not list((encoded.path / "data/tokens").iterdir())


def test_the_page_of_plots_opens_offline(finished: Workspace) -> None:
    finished.run("python", "-m", "experiments.report.plot_page", ".dvc/plots/page.html")
    finished.run("dvc", "plots", "show", "--out", "page")
    page = (finished.path / "page" / "index.html").read_text()
    assert "<script src=" not in page
    assert 'id="Training_and_validation_loss"' in page or "Training and validation loss" in page
    for picture in (plot for plot in load_pipeline()["plots"] if isinstance(plot, str)):
        assert picture.replace("/", "_") in page
    assert '"type": "log"' in page
