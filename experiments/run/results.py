"""The results of experiments, as DVC stores them."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.define.parameters import Overrides, flatten
from experiments.run.dvc_commands import ask_dvc, ask_git
from experiments.run.repository import check_experiments_are_found, killed_copies

_OF_THE_BASE = ("tokenizer", "train", "evaluate")  # metrics files
State = Literal["done", "failed", "queued", "running"]


@dataclass(frozen=True)
class Result:
    """An experiment as `dvc exp show` reports it."""

    name: str
    rev: str  # the commit of the experiment, or its id in the queue
    state: State
    parameters: Overrides  # the values of params.yaml, by dotted names
    metrics: dict[str, Any]  # the values of all metrics files together
    outs: dict[str, str]  # path to MD5
    pid: int | None = None  # the process that runs or ran it, if it is or was a job of the queue
    log: Path | None = None  # what that process printed


def finite(value: Any) -> float | None:
    """A metric as a number; None where it is no finite one, as the metrics of a run that diverged may be."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def load_results(rev: str | None = None) -> dict[str, Result]:
    """The experiments made from a commit (HEAD unless given), by name; of several with one name, the newest.

    Raises:
        ValueError: when DVC reports an error, for instance because there is no such commit; and where a killed run of
            DVC hides the experiments of HEAD.
    """
    if rev is None:
        check_experiments_are_found()
    killed = killed_copies()
    shown = json.loads(ask_dvc("exp", "show", "--json", *(["--rev", rev] if rev else [])))
    results: dict[str, Result] = {}
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            for entry in experiment["revs"][:1]:  # the first is the newest
                if entry["name"] and entry["rev"] not in killed:
                    result = _result(entry, experiment.get("executor"))
                    # With --force an experiment can be done and queued again at the same time.
                    if result.name not in results or result.state in ("queued", "running"):
                        results[result.name] = result
    return results


def experiment_commit(name: str) -> str | None:
    """The commit of the experiment of that name that was made from HEAD; None where there is none."""
    head = ask_git("rev-parse", "HEAD").strip()
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    return ask_git("for-each-ref", "--format=%(objectname)", reference).strip() or None


def named_metrics(path: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a metrics file by dotted names.

    The files of the base model have no names in common. Those of other files carry the name of their file, because a
    chat model has a loss and tokens too.

    >>> named_metrics("metrics/train.json", {"tokens": 1})
    {'tokens': 1}
    >>> named_metrics("metrics/finetune.json", {"tokens": 1})
    {'finetune.tokens': 1}
    >>> named_metrics("metrics/chat.json", {"chat": {"loss": 1.5}, "base": None})
    {'chat.loss': 1.5, 'chat.base': None}
    """
    stem = Path(path).stem
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if stem not in _OF_THE_BASE and name != stem:
            name = f"{stem}.{name}"
        flat |= {f"{name}.{key}": one for key, one in _flat(value)} if isinstance(value, dict) else {name: value}
    return flat


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by dotted names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in _flat(value))
        else:
            yield name, value


def _result(entry: Mapping[str, Any], executor: Mapping[str, Any] | None) -> Result:
    data = entry["data"] or {}
    parameters = flatten((data.get("params") or {}).get("params.yaml", {}).get("data") or {})
    metrics: dict[str, Any] = {}
    for path, file in (data.get("metrics") or {}).items():
        metrics |= named_metrics(path, file.get("data") or {})
    outs = {path: out["hash"] for path, out in (data.get("outs") or {}).items() if out["hash"]}
    state: State = "failed" if entry["error"] else "done"
    if executor and executor.get("state") in ("failed", "queued", "running"):
        state = executor["state"]
    local = (executor or {}).get("local") or {}
    log = Path(local["log"]) if local.get("log") else None
    return Result(entry["name"], entry["rev"], state, parameters, metrics, outs, local.get("pid"), log)
