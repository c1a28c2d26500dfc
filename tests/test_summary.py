"""Tests of commands/summary.py and commands/repro.py: how a run of the pipeline ends."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import main as dvc

from commands import repro
from commands.summary import TARGETS, summary
from lm.system.files import md5
from tests.project import ROOT, load_pipeline

TRAIN: dict[str, Any] = {
    "n_parameters": 1017216, "steps": 1200, "tokens": 3840000, "train_loss": 0.66, "valid_loss": 0.6552,
    "kept_step": 1200, "stopped_early": False, "skipped_steps": 0, "diverged": False,
}  # fmt: skip
EVALUATE: dict[str, Any] = {
    "loss": 0.61417, "loss_standard_error": 0.00174, "perplexity": 1.848, "bits_per_byte": 0.25191,
    "bits_per_byte_standard_error": 0.00079, "accuracy": 0.798, "accuracy_standard_error": 0.0007, "n_documents": 1000,
    "n_tokens": 281937, "n_bytes": 991683, "floor_bits_per_byte": 0.17413, "excess_bits_per_byte": 0.07778,
    "excess_bits_per_byte_standard_error": 0.00056,
}  # fmt: skip
SAMPLES = [
    {"prompt": "", "text": "A hen.", "ids": [1], "complete": True},
    {"prompt": "Once", "text": " upon a time\nthere was", "ids": [2], "complete": False},
]


def write_outs(root: Path, train: dict[str, Any] = TRAIN, evaluate: dict[str, Any] = EVALUATE) -> None:
    for folder in ("metrics", "plots", "samples"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "metrics/train.json").write_text(json.dumps(train))
    (root / "metrics/evaluate.json").write_text(json.dumps(evaluate))
    (root / "samples/base.json").write_text(json.dumps({"samples": SAMPLES}))
    (root / "plots/steps.csv").write_text("step,loss\n")


def test_the_end_of_a_run_says_what_matters(tmp_path: Path) -> None:
    write_outs(tmp_path)
    (tmp_path / ".timings").mkdir()
    timing = {"machine": "Two cores", "steps": [1, 1200], "elapsed_s": [0.2, 275.4]}
    (tmp_path / ".timings" / f"{md5(tmp_path / 'plots/steps.csv')}.json").write_text(json.dumps(timing))
    assert (
        summary("repro", tmp_path)
        == """
training  1,017,216 parameters, 3,840,000 tokens in 1,200 steps, 4 min 35 s on Two cores
          0.6552 nats a token on a part of the validation text, while training
result    loss 0.6142 ± 0.0017 nats a token, 0.2519 ± 0.0008 bits per byte, on the whole validation text \
(1,000 documents)
          0.0778 ± 0.0006 bits per byte above 0.1741, the entropy of that text: no model can be better
curves    plots/*.png; one page of all of them: make plots
analysis  analysis/index.html: what the model learned when, how it reads, what it writes
samples   samples/base.md, for example:
          Once upon a time
          there was …
next      make generate TEXT="Once upon a time"    continue a text of yours
          make chat                                talk to the chat model
          python -m experiments list               ablations and larger models to try"""
    )


def test_only_what_a_target_has_made_is_shown(tmp_path: Path) -> None:
    write_outs(tmp_path)
    shown = {target: re.findall(r"^\w+", summary(target, tmp_path), flags=re.MULTILINE) for target in TARGETS}
    assert shown == {
        "repro": ["training", "result", "curves", "analysis", "samples", "next"],
        "train": ["training", "curves", "next"],
        "evaluate": ["training", "result", "next"],
        "sample": ["training", "samples", "next"],
    }


def test_what_is_not_known_is_not_claimed(tmp_path: Path) -> None:
    no_floor = {name: value for name, value in EVALUATE.items() if "floor" not in name and "excess" not in name}
    write_outs(
        tmp_path,
        TRAIN | {"diverged": True, "valid_loss": None, "kept_step": 80},
        no_floor | {"loss_standard_error": None, "bits_per_byte_standard_error": None},
    )
    shown = summary("repro", tmp_path)
    assert "training diverged; the weights kept are those of step 80\n          (unknown) nats a token" in shown
    assert "loss 0.6142 nats a token, 0.2519 bits per byte, on" in shown
    assert "entropy" not in shown
    assert " s on" not in shown  # no time of this run is there


def test_files_of_the_summary_are_outs_of_the_pipeline() -> None:
    named = set(re.findall(r"(?:metrics|plots|samples)/\w+\.\w+", (ROOT / "commands/summary.py").read_text()))
    outs: set[str] = set()
    for stage in load_pipeline()["stages"].values():
        for out in (*stage.get("outs", ()), *stage.get("metrics", ())):
            outs.update([out] if isinstance(out, str) else out)
    assert len(named) > 5
    assert named <= outs


def test_a_run_ends_with_the_summary_unless_it_failed_and_tells_of_pushing_only_where_there_is_a_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(status: int = 0) -> str:
        assert repro.main([]) == status
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    write_outs(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: test -s params.txt\n    deps: [params.txt]\n")
    (tmp_path / "params.txt").write_text("1")
    assert dvc(["init", "--no-scm", "--quiet"]) == 0
    first = run()
    assert (tmp_path / "dvc.lock").exists()
    assert "push" not in first
    assert "\nresult    loss 0.6142" in first
    again = run()
    assert "up to date" in again
    assert "\nresult    loss 0.6142" in again
    (tmp_path / "params.txt").write_text("")
    assert "loss" not in run(status=255)
    (tmp_path / "params.txt").write_text("2")
    assert dvc(["remote", "add", "--quiet", "--default", "store", str(tmp_path / "store")]) == 0
    with_remote = run()
    assert "Use `dvc push`" in with_remote
    assert "\nresult    loss 0.6142" in with_remote


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("  n_heads: 4 ", "  n_heads: 4: 2 ", r"params\.yaml:\d+: not valid YAML: mapping values are not allowed here"),
        ("  n_heads: 4 ", "  n_heads: 5 ", r"model\.d_model: must be a multiple of n_heads=5, got 128"),
    ],
)
def test_a_mistake_in_params_yaml_is_one_line_before_dvc_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    assert before in text
    (tmp_path / "params.yaml").write_text(text.replace(before, after))
    assert repro.main([]) == 1
    assert re.fullmatch(f"error: {message}\n", capsys.readouterr().err)


@pytest.mark.parametrize("words", [["repro"], ["train", "sample"], ["--force"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"commands\.repro"):
        repro.main(words)
