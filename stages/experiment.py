"""The parameters that an experiment of DVC began with.

DVC files params.yaml with an experiment as it is after the last stage. So parameters must not change between its stages
either, not even those that only a finished stage has read.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.system.files import read_json, write_json

_FILE = Path(".dvc/tmp/storyline-experiment.json")  # DVC's own folder for what is neither a result nor in git


def is_experiment() -> bool:
    """Whether `dvc exp run` has started this process."""
    return "DVC_EXP_NAME" in os.environ


def note_parameters(values: Mapping[str, Any]) -> None:
    """Note what the experiment begins with. The first stage does so."""
    write_json(_FILE, {"run": _run(), "parameters": values})


def noted_parameters() -> dict[str, Any] | None:
    """What the experiment began with; None if its first stage has not run, as with `--single-item`."""
    noted = read_json(_FILE) if _FILE.exists() else {}
    return noted["parameters"] if noted.get("run") == _run() else None


def _run() -> list[str]:
    """A name for this run of `dvc`: the experiment, and the number and the start of the process."""
    parent = os.getppid()
    facts = Path(f"/proc/{parent}/stat")  # where the system has it; numbers of processes are used again
    started = facts.read_text().rpartition(")")[2].split()[19] if facts.exists() else ""
    return [os.environ["DVC_EXP_NAME"], str(parent), started]
