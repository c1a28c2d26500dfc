"""Tests of the command line of experiments/report/plot_page.py; tests/test_pipeline.py fills the page in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), ([], 2), (["page.html", "other.html"], 2)])
def test_help_and_wrong_arguments_write_no_file(tmp_path: Path, words: list[str], status: int) -> None:
    command = [sys.executable, "-m", "experiments.report.plot_page", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == status
    assert "usage: python -m experiments.report.plot_page" in result.stdout + result.stderr
    assert list(tmp_path.iterdir()) == []
