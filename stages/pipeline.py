"""What dvc.yaml and dvc.lock say of the pipeline."""

from pathlib import Path
from typing import Any

from lm.config.base import read_yaml
from stages.snapshot import ROOT


def written_paths(root: Path) -> list[Path]:
    """All outs, metrics and plots that stages write, below the root of the repository.

    A run in a temporary copy reads the user's files from the workspace, where the outs of another run may lie. They are
    no input: with them, a result would depend on what had run before.
    """
    return [
        root / stage.get("wdir", ".") / path
        for stage in _stages("dvc.yaml").values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for path in ([entry] if isinstance(entry, str) else entry)
    ]


def deps_of(stage: str) -> list[Path] | None:
    """The files and folders that a stage depends on; None where there is no dvc.yaml or no such stage in it."""
    entry = _stages("dvc.yaml").get(stage)
    if entry is None:
        return None
    names = [next(iter(dep)) if isinstance(dep, dict) else dep for dep in entry.get("deps", [])]
    return [(ROOT / entry.get("wdir", ".") / name).resolve() for name in names]


def has_result(stage: str, section: str, values: Any) -> bool:
    """Whether dvc.lock has the result of a stage with these values of a section."""
    params = _stages("dvc.lock").get(stage, {}).get("params", {})
    return bool(params.get("params.yaml", {}).get(section) == values)


def _stages(name: str) -> dict[str, Any]:
    """The entries of the stages in a file of DVC by the name of the stage; none where there is no such file."""
    path = ROOT / name
    return dict(read_yaml(path).get("stages") or {}) if path.exists() else {}
