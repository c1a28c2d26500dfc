"""What DVC does for us: it runs experiments, queues them, keeps their results, and tells what there is."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.define.definitions import Overrides, Run, flatten

State = Literal["done", "failed", "queued", "running"]


@dataclass(frozen=True)
class Result:
    """An experiment as `dvc exp show` knows it."""

    name: str
    rev: str  # its commit, or its place in the queue
    state: State
    parameters: Overrides  # of params.yaml, by dotted names
    metrics: dict[str, Any]  # of all metrics files together
    outs: dict[str, str]  # path to MD5


def command(run: Run, params: Mapping[str, Any], *how: str) -> list[str]:
    """The `dvc exp run` of a run beside a params.yaml, which anyone may run by hand."""
    words = ["dvc", "exp", "run", *how, "-n", run.name]
    for key, value in run.changes(params).items():
        words += ["-S", f"{key}={_hydra(value)}"]
    return words


def run_dvc(words: list[str]) -> int:
    """The exit status of a dvc command that speaks to the terminal itself."""
    process = subprocess.Popen(words, env=_environment())
    interrupted = False
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the terminal sends it to dvc as well, which ends its stage in good order
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        return status


def ask_dvc(*words: str, **environment: str) -> str:
    """What a dvc command prints.

    Raises:
        ValueError: with dvc's own last line when it fails.
    """
    result = subprocess.run(["dvc", *words], env=_environment() | environment, capture_output=True, text=True)
    if result.returncode:
        lines = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise ValueError(f"dvc {' '.join(words)}: {lines[0] if lines else result.stderr.strip()}")
    return result.stdout


def results(rev: str | None = None) -> dict[str, Result]:
    """The experiments made from a commit (HEAD), by name; the newest where several have one name.

    Raises:
        ValueError: when DVC cannot tell, for instance when there is no such commit.
    """
    shown = json.loads(ask_dvc("exp", "show", "--json", *(["--rev", rev] if rev else [])))
    found: dict[str, Result] = {}
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            for entry in experiment["revs"][:1]:  # the first is the newest
                if entry["name"]:
                    result = _result(entry, experiment.get("executor"))
                    # With --force one may be done and queued again.
                    if result.name not in found or result.state in ("queued", "running"):
                        found[result.name] = result
    return found


def uncommitted() -> list[str]:
    """The tracked files that differ from HEAD: `dvc exp run` takes them into every experiment.

    Raises:
        ValueError: outside of a git repository, or in one without a commit.
    """
    return ask_git("diff", "--name-only", "HEAD").splitlines()


def ask_git(*words: str) -> str:
    """What a git command prints.

    Raises:
        ValueError: with git's own first line when it fails.
    """
    result = subprocess.run(["git", *words], capture_output=True, text=True)
    if result.returncode:
        raise ValueError(f"git {' '.join(words)}: {result.stderr.strip().splitlines()[0]}")
    return result.stdout


def _result(entry: Mapping[str, Any], executor: Mapping[str, Any] | None) -> Result:
    data = entry["data"] or {}
    parameters = flatten((data.get("params") or {}).get("params.yaml", {}).get("data") or {})
    metrics: dict[str, Any] = {}
    for file in (data.get("metrics") or {}).values():
        metrics |= file.get("data") or {}
    outs = {path: out["hash"] for path, out in (data.get("outs") or {}).items() if out["hash"]}
    state: State = "failed" if entry["error"] else "done"
    if executor and executor.get("state") in ("failed", "queued", "running"):
        state = executor["state"]
    return Result(entry["name"], entry["rev"], state, parameters, metrics, outs)


def _hydra(value: Any) -> str:
    """A value in the grammar of `dvc exp run -S`: that of JSON, but for words that need no quotes.

    Raises:
        ValueError: for a text that this grammar would change on its way.
    """
    if isinstance(value, list):
        return "[" + ",".join(_hydra(item) for item in value) + "]"
    if isinstance(value, str) and (not value.isprintable() or "\\" in value or "${" in value):
        raise ValueError(f"{value!r}: must go into params.yaml, for `dvc exp run -S` takes no such text")
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value)
    reserved = ("true", "false", "null", "nan", "inf")
    return str(value) if plain and str(value).lower() not in reserved else json.dumps(value, ensure_ascii=False)


def _environment() -> dict[str, str]:
    """Ours, with this Python's `dvc` and `python` found first, whether or not its environment is active."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
