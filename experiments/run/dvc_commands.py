"""Calls of the commands `dvc` and `git`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.define.experiment_set import Run


def exp_run_command(
    run: Run, params: Mapping[str, Any], workspace: Mapping[str, Any] | None = None, *options: str
) -> list[str]:
    """The words of the `dvc exp run` that makes a run from the committed params.yaml; a person can type the same.

    It runs in a temporary copy, unless the options queue it, because in the workspace its parameters would stay in
    params.yaml, and the next run would start from them. Where `workspace` is given, the command makes the same run
    although these values stand in params.yaml now.
    """
    words = ["dvc", "exp", "run", *(options or ["--temp"]), "-n", run.name]
    for key, value in run.changes(params, *([] if workspace is None else [workspace])).items():
        words += ["-S", f"{key}={_hydra_value(value)}"]
    return words


def run_dvc(words: list[str]) -> int:
    """The exit status of a dvc command that reads from and writes to the terminal itself."""
    process = subprocess.Popen(words, env=_environment())
    interrupted = False
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the terminal sends Ctrl-C to dvc as well, which then stops its stage properly
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        return status


def ask_dvc(*words: str, **environment: str) -> str:
    """What a dvc command prints.

    Raises:
        ValueError: when the command fails, with the error that dvc prints.
    """
    result = subprocess.run(["dvc", *words], env=_environment() | environment, capture_output=True, text=True)
    if result.returncode:
        lines = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise ValueError(f"dvc {' '.join(words)}: {lines[0] if lines else result.stderr.strip()}")
    return result.stdout


def ask_git(*words: str) -> str:
    """What a git command prints.

    Raises:
        ValueError: when the command fails, with the first line that git prints.
    """
    try:
        result = subprocess.run(["git", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError("git: must be installed, because DVC keeps experiments as commits of git") from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise ValueError(f"git {' '.join(words)}: {lines[0]}")
    return result.stdout


def uncommitted_files() -> list[str]:
    """The tracked files that differ from HEAD, named from here. `dvc exp run` takes these edits into every experiment.

    Raises:
        ValueError: outside of a git repository, or in one without a commit.
    """
    root = Path(ask_git("rev-parse", "--show-toplevel").rstrip("\n"))
    names = ask_git("diff", "--name-only", "-z", "HEAD").split("\0")
    return [os.path.relpath(root / name) for name in names if name]


def _hydra_value(value: Any) -> str:
    """A value in the grammar of `dvc exp run -S`, which is that of JSON, except that simple words need no quotes.

    Raises:
        ValueError: for a text that this grammar would change.
    """
    if isinstance(value, list):
        return "[" + ",".join(_hydra_value(item) for item in value) + "]"
    if isinstance(value, str) and (not value.isprintable() or "\\" in value or "${" in value):
        raise ValueError(
            f"{value!r}: must be written into params.yaml, because `dvc exp run -S` cannot pass this text on"
        )
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value)
    reserved = ("true", "false", "null", "nan", "inf")
    return str(value) if plain and str(value).lower() not in reserved else json.dumps(value, ensure_ascii=False)


def _environment() -> dict[str, str]:
    """Our environment, where `dvc` and `python` are those beside this Python, even if its environment is not active."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
