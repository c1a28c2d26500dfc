"""Where the project lies, and its dvc.yaml."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


def load_pipeline() -> Any:
    """dvc.yaml as plain values."""
    return YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
