"""The parameters that experiments start from: those of a commit, whatever stands in the workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.define.parameters import PARAMETERS, flatten, load_mapping, overridden, parse_mapping
from experiments.run.dvc_commands import ask_git
from lm.config.sections import SECTIONS

PARAMS = Path("params.yaml")


@dataclass(frozen=True)
class Start:
    """The content of params.yaml in the commit that experiments start from, and in the workspace."""

    params: dict[str, Any]
    workspace: Mapping[str, Any]

    def differences(self) -> list[str]:
        """A line for each value of the workspace that is not part of the experiments."""
        committed = flatten(self.params)
        return [
            f"{key} is {value!r} here, {committed[key]!r} there"
            for key, value in flatten(self.workspace).items()
            if value != committed[key]
        ]


def load_start(rev: str = "HEAD") -> Start:
    """What experiments of a commit start from.

    A parameter that the commit does not know, because its code is not committed yet, has its value in the workspace.

    Raises:
        ValueError: when one of the two files is no mapping, or holds parameters that have moved, or is not committed.
    """
    workspace, committed = load_mapping(PARAMS), flatten(committed_params(rev))
    for name, section in SECTIONS.items():
        section.check_moved(workspace.get(name))
        if not isinstance(workspace.get(name, {}), dict):
            raise ValueError(f"{PARAMS}: {name}: must be a mapping of parameters, got {workspace[name]!r}")
    known = {*flatten(workspace), *PARAMETERS}
    return Start(overridden(workspace, {key: value for key, value in committed.items() if key in known}), workspace)


def committed_params(rev: str) -> dict[str, Any]:
    """The content of params.yaml in a commit.

    Raises:
        ValueError: when the commit has no such file, or the file holds no mapping.
    """
    if not ask_git("ls-tree", "--name-only", rev, "--", str(PARAMS)):
        raise ValueError(
            f"{PARAMS}: must be committed, because experiments start from the commit: git add --all && git commit"
        )
    return parse_mapping(ask_git("show", f"{rev}:./{PARAMS}"), f"{PARAMS} of {rev}")
