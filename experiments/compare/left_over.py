"""What an experiment holds that its run did not make.

`dvc exp run STAGE` runs no stage after STAGE. What the others write stays as it was committed, so that the curves and
metrics of one model would stand under the name of another.
"""

from collections.abc import Mapping
from typing import Any

from dvc.api import DVCFileSystem
from dvc.dependency import ParamsDependency
from dvc.stage import Stage

from experiments.define.parameters import flatten


def left_over(files: DVCFileSystem, parameters: Mapping[str, Any]) -> frozenset[str]:
    """The paths that a commit holds of stages that did not run.

    By dvc.lock, these have read another file than the stage before them wrote, or what such a stage wrote, or other
    values of parameters than those of the commit.
    """
    stages: list[Stage] = [stage for stage in files.repo.index.stages if stage.outs]
    written = {out.def_path: out.hash_info.value for stage in stages for out in stage.outs}
    found: frozenset[str] = frozenset()
    while True:
        behind = [stage for stage in stages if _is_behind(stage, written, found, parameters)]
        if found == (more := frozenset(out.def_path for stage in behind for out in stage.outs)):
            return found
        found = more


def _is_behind(stage: Stage, written: Mapping[str, Any], found: frozenset[str], parameters: Mapping[str, Any]) -> bool:
    for dependency in stage.deps:
        read = dependency.hash_info.value
        if isinstance(dependency, ParamsDependency):
            values = flatten(read or {})
            if any(parameters.get(name, value) != value for name, value in values.items()):
                return True
        elif dependency.def_path in found or written.get(dependency.def_path, read) != read:
            return True
    return False
