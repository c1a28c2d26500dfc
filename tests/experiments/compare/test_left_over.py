"""Tests of experiments/compare/left_over.py, on the lock file of a small pipeline that is written by hand."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dvc.api import DVCFileSystem
from ruamel.yaml import YAML

from experiments.compare.curves import read_curves
from experiments.compare.left_over import left_over
from experiments.run.results import Result

OLD, NEW = "0" * 32, "1" * 32
TABLE = "step,tokens,loss\n1,10,2.5\n"
# A stage, what it reads, its parameter, and what it writes.
STAGES = {
    "train": ([], "seed", ["models/base", "metrics/train.json"]),
    "plot": (["models/base"], "observe.log_every", ["plots/train.csv"]),
    "stories": (["models/base"], "analyze.n_stories", ["samples/base.json"]),
    "count": (["samples/base.json"], "seed", ["metrics/stories.json"]),
}
PARAMETERS = {"seed": 1, "observe.log_every": 10, "analyze.n_stories": 60}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose stages have all run."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    stages: dict[str, Any] = {}
    for name, (deps, parameter, outs) in STAGES.items():
        stages[name] = {
            "cmd": "true",
            "deps": deps,
            "params": [parameter],
            "outs": [{o: {"cache": False}} for o in outs],
        }
        for out in outs:
            text = TABLE if out.endswith("csv") else json.dumps({"samples": [], name: 1})
            (tmp_path / out).parent.mkdir(exist_ok=True)
            (tmp_path / out).write_text(text)
    write(tmp_path / "dvc.yaml", {"stages": stages})
    lock(tmp_path, {})
    return tmp_path


def commit(folder: Path) -> None:
    """Commit all."""
    git = ["git", "-C", str(folder), "-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    for words in (["add", "--all"], ["commit", "-qm", "state"]):
        subprocess.run([*git, *words], check=True)


def write(path: Path, values: Any) -> None:
    """Write a YAML file."""
    with path.open("w") as file:
        YAML(typ="safe").dump(values, file)


def lock(folder: Path, seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Say in dvc.lock what the stages have seen, if it is not what is there: MD5 of files, values of parameters."""
    stages = {}
    for name, (deps, parameter, outs) in STAGES.items():
        own = seen.get(name, {})
        stages[name] = {
            "cmd": "true",
            "deps": [{"path": path, "hash": "md5", "md5": own.get(path, NEW)} for path in deps],
            "params": {"params.yaml": {parameter: own.get(parameter, PARAMETERS[parameter])}},
            "outs": [{"path": path, "hash": "md5", "md5": NEW} for path in outs],
        }
    write(folder / "dvc.lock", {"schema": "2.0", "stages": stages})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, set()),
        ({"plot": {"models/base": OLD}}, {"plots/train.csv"}),
        ({"stories": {"models/base": OLD}}, {"samples/base.json", "metrics/stories.json"}),
        ({"stories": {"analyze.n_stories": 3}}, {"samples/base.json", "metrics/stories.json"}),
        ({"count": {"seed": 2}}, {"metrics/stories.json"}),
    ],
    ids=["all ran", "another file", "what follows too", "another parameter", "the last"],
)
def test_what_a_run_did_not_make_is_found(
    project: Path, seen: Mapping[str, Mapping[str, Any]], expected: set[str]
) -> None:
    lock(project, seen)
    commit(project)
    assert left_over(DVCFileSystem(str(project), rev="HEAD"), PARAMETERS) == expected


def test_curves_samples_and_metrics_of_another_run_are_not_read(project: Path) -> None:
    result = Result("some", "HEAD", "done", PARAMETERS, {}, {})
    commit(project)
    curves = read_curves(result, project)
    assert curves.train is not None
    assert (curves.samples, curves.not_made) == ((), frozenset())
    lock(project, {name: {"models/base": OLD} for name in ("plot", "stories")})
    commit(project)
    curves = read_curves(result, project)
    assert curves.train is None
    assert curves.samples is None
    assert curves.not_made == {"stories.samples", "stories.count"}
