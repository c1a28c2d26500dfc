"""What the pipeline itself writes."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_PIPELINE = Path(__file__).resolve().parents[1] / "dvc.yaml"


def written_paths(root: Path) -> list[Path]:
    """All outs, metrics and plots that stages write, below the root of the repository.

    A run in a temporary copy reads the user's files from the workspace, where the outs of another run may lie. They are
    no input: with them, a result would depend on what had run before.
    """
    stages: dict[str, Any] = YAML(typ="safe").load(_PIPELINE)["stages"] if _PIPELINE.exists() else {}
    return [
        root / stage.get("wdir", ".") / path
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for path in ([entry] if isinstance(entry, str) else entry)
    ]
