"""Tests of the Makefile: what a user types reaches the commands, and `make help` tells of every target."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from commands.deps import ROOT
from lm.tokenizer.inspection import show_split
from lm.tokenizer.learning import bytes_alone
from tests.small import tokenizer_config


def make(folder: Path, *words: str, **environment: str) -> str:
    """What make prints in a folder, as if set-up had been done."""
    return subprocess.run(
        ["make", "--silent", "--old-file=setup", f"--makefile={ROOT / 'Makefile'}", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


NASTY = """-- "It's $5", said `touch made` $(touch made) $(shell touch made) $$ \\ \' # % é\n  and more; touch made"""


@pytest.mark.parametrize("in_environment", [False, True])
def test_a_text_reaches_the_command_as_it_was_typed(in_environment: bool, tmp_path: Path) -> None:
    tokenizer = bytes_alone(tokenizer_config(kind="byte"))
    (tmp_path / "data").mkdir()
    tokenizer.save(tmp_path / "data" / "tokenizer.json")
    shown = make(tmp_path, "split", TEXT=NASTY) if in_environment else make(tmp_path, "split", f"TEXT={NASTY}")
    assert shown.splitlines()[0] == show_split(tokenizer, NASTY)
    assert not (tmp_path / "made").exists()


def test_a_prompt_reaches_the_model_as_it_was_typed(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "generate.py").write_text("import sys\nprint(sys.argv[1:])\n")
    shown = make(tmp_path, "generate", f"TEXT={NASTY}", PYTHONPATH=str(tmp_path))
    assert shown == f"{['models/base/model.safetensors', 'data/tokenizer.json', '--', NASTY]}\n"
    assert not (tmp_path / "made").exists()


def test_changes_reach_an_experiment_as_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\n")
    changes = ["data.train=[e*/**/*.py]", "data.separator=$5`touch`"]
    shown = make(tmp_path, "exp", "NAME=wide", f"SET={' '.join(changes)}", PYTHONPATH=str(tmp_path))
    assert shown == f"{['try', 'wide', *changes]}\n"


def test_help_tells_of_every_target(tmp_path: Path) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    described = re.findall(r"^  ([a-z -]+?)  +\S", make(tmp_path, "help"), flags=re.MULTILINE)
    assert sorted(" ".join(described).split()) == sorted(phony.split())
