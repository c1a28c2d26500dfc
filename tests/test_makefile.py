"""Tests of the Makefile: what a user types reaches the commands, and `make help` tells of every target."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lm.system.installation import check_installation
from lm.tokenizer.inspection import show_split
from lm.tokenizer.learning import bytes_alone
from tests.project import ROOT
from tests.small import tokenizer_config


def make(folder: Path, *words: str, **environment: str) -> str:
    """What make prints in a folder, as if it were a repository and set-up had been done."""
    return subprocess.run(
        ["make", "--silent", "--old-file=setup", "--old-file=.git", f"--makefile={ROOT / 'Makefile'}", *words],
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


def test_a_prompt_and_options_reach_the_model_as_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "generate.py").write_text("import sys\nprint(sys.argv[1:])\n")
    options = """--stop "It's $5" --forbid '`touch made`' $(touch made)"""
    given = [f"TEXT={NASTY}", f"OPTIONS={options}"]
    shown = make(tmp_path, "generate", *given, PYTHONPATH=str(tmp_path))
    assert shown == f"{['models/base', '--options', options, '--', NASTY]}\n"
    assert make(tmp_path, "generate", PYTHONPATH=str(tmp_path)) == f"{['models/base', '--options', '']}\n"
    assert not (tmp_path / "made").exists()


def test_changes_reach_an_experiment_as_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\n")
    changes = ["data.train=[e*/**/*.py]", "data.separator=$5`touch`"]
    for name in ("wide", NASTY):
        shown = make(tmp_path, "exp", f"NAME={name}", f"SET={' '.join(changes)}", PYTHONPATH=str(tmp_path))
        assert shown == f"{['try', '--', name, *changes]}\n"
    assert make(tmp_path, "verify", PYTHONPATH=str(tmp_path)) == "['verify', '--']\n"
    assert make(tmp_path, "verify", f"REV={NASTY}", PYTHONPATH=str(tmp_path)) == f"{['verify', '--', NASTY]}\n"
    assert not (tmp_path / "made").exists()


def test_the_states_to_remove_reach_the_command_as_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "unfinished.py").write_text("import sys\nprint(sys.argv[1:])\n")
    assert make(tmp_path, "unfinished", PYTHONPATH=str(tmp_path)) == "[]\n"
    shown = make(tmp_path, "unfinished", "REMOVE=a* `touch made` b", PYTHONPATH=str(tmp_path))
    assert shown == f"{['--remove', 'a*', '`touch', 'made`', 'b']}\n"


def test_help_tells_of_every_target(tmp_path: Path) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    described = re.findall(r"^  ([a-z -]+?)  +\S", make(tmp_path, "help"), flags=re.MULTILINE)
    assert sorted(" ".join(described).split()) == sorted(phony.split())


def refusal(folder: Path, *words: str) -> str:
    """What make says on stderr when it refuses."""
    done = subprocess.run(
        ["make", "--silent", f"--makefile={ROOT / 'Makefile'}", *words],
        cwd=folder,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("target", ["repro", "train", "sample", "evaluate", "plots", "exp", "verify"])
def test_without_git_one_line_says_what_to_do(target: str, tmp_path: Path) -> None:
    line, *rest = refusal(tmp_path, "--old-file=setup", target).splitlines()
    cure = "git init && git add --all && git commit -m start"
    assert line == f"error: {tmp_path}: must be in a git repository, because DVC compares commits: {cure}"
    assert len(rest) <= 1  # make's own
    assert cure in (ROOT / "README.md").read_text()


def test_set_up_refuses_windows_and_an_old_python(tmp_path: Path) -> None:
    python = ".venv/bin/python"
    assert refusal(tmp_path, python, "OS=Windows_NT").startswith("error: Windows is not supported: work in WSL\n")
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n")
    old.chmod(0o755)
    message = f"error: {old} must be Python 3.11 or newer, got Python 3.9.1; name one: make PYTHON=python3.12 ...\n"
    assert refusal(tmp_path, python, f"PYTHON={old}").startswith(message)


@pytest.mark.parametrize(("has_pip", "command"), [(True, "python -m pip install"), (False, "uv pip install")])
def test_uv_installs_where_the_environment_has_no_pip(has_pip: bool, command: str, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", *(["pip"] if has_pip else [])):
        (tmp_path / ".venv/bin" / name).touch()
    lines = make(tmp_path, "--dry-run", ".venv/.setup").replace("\\\n", "").splitlines()
    installing = next(line for line in lines if not line.startswith("echo "))
    assert re.match(rf"{command} .*--constraint requirements\.lock \.$", installing)


def test_without_packages_one_line_says_what_to_do() -> None:
    for module in ("stages.inputs", "stages.train", "commands.repro", "experiments"):
        done = subprocess.run(
            [sys.executable, "-S", "-m", module], cwd=ROOT, check=False, capture_output=True, text=True
        )  # -S: without the packages of the environment
        assert done.returncode == 1
        assert re.fullmatch(
            r"error: .* has no pydantic: .* run `make setup`, then `source \.venv/bin/activate`\n", done.stderr
        )


def test_windows_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match=r"^error: Windows .*: work in WSL$"):
        check_installation()
