"""What the commands print, without DVC."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import subcommands
from experiments.run.start import Start
from tests.experiments.results_by_hand import PARAMS
from tests.project import ROOT

EXPERIMENTS = """
presets:
  fast: {asks: Is it fast?, hardware: any CPU}
  half: {asks: Is half enough?, hardware: any GPU, train: {precision: bf16}}
  typo: {asks: Is it right?, hardware: any CPU, train: {setps: 1}}
sets:
  widths: {asks: How wide?, seeds: [1, 2], sweep: {model: {d_model: [64, 66]}}}
"""


def test_the_list_shows_every_entry_and_its_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    monkeypatch.chdir(tmp_path)
    params = PARAMS | {"train": PARAMS["train"] | {"backend": "numpy"}}
    monkeypatch.setattr(subcommands, "load_start", lambda: Start(params, params))
    assert subcommands.list_experiments(argparse.Namespace()) == 0
    # Without the cost of the trainings, which stands in brackets at the end.
    lines = [re.sub(r" \(at least .*\)$", "", " ".join(line.split())) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "presets",
        "fast 1,017,216 parameters Is it fast?",
        "half 1,017,216 parameters Is half enough?",
        "error: half: train.precision: must be auto or fp32 with backend 'numpy', got 'bf16'",
        "sets",
        "widths 4 runs How wide?",
        "error: widths-66-s1: model.d_model: must be a multiple of n_heads=4, got 66",
        "typo error: experiments.yaml: presets.typo: train.setps: no such parameter, did you mean train.steps?",
    ]


def test_a_command_that_neither_compares_nor_draws_does_not_load_what_does() -> None:
    loaded = "import sys, experiments.__main__; print(*{'dvc', 'pandas', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
