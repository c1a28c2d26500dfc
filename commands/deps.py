"""The import closure of each stage, and the code lists of dvc.yaml that follow from it.

python -m commands.deps       writes the lists into dvc.yaml (`make deps`)
"""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
OURS = ("lm", "stages")


def source_of(module: str) -> Path | None:
    """The file of a module of ours, or None for what is not a module of ours."""
    if module.split(".")[0] not in OURS:
        return None
    path = ROOT / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def imports(path: Path) -> frozenset[Path]:
    """The files of ours that one file imports, packages on the way included."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where code comes from"
            assert node.module is not None
            modules.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    parents = {".".join(module.split(".")[: i + 1]) for module in modules for i in range(module.count(".") + 1)}
    return frozenset(source for module in parents if (source := source_of(module)))


def closure(path: Path) -> set[Path]:
    """All files of ours that run when one file is run."""
    found, waiting = {path, path.parent / "__init__.py"}, [path]
    while waiting:
        new = imports(waiting.pop()) - found
        found |= new
        waiting.extend(new)
    return found


def code_of(stage: str) -> list[str]:
    """The code that a stage depends on: its own file, then the rest in order; empty files change nothing."""
    own = ROOT / "stages" / f"{stage}.py"
    rest = sorted(path for path in closure(own) if path != own and path.stat().st_size > 0)
    return [str(path.relative_to(ROOT)) for path in [own, *rest]]


def is_code(dep: str) -> bool:
    """Whether a dependency in dvc.yaml is code rather than data."""
    return dep.endswith(".py")


def load_pipeline() -> Any:
    """dvc.yaml as plain values."""
    return YAML(typ="safe").load(ROOT / "dvc.yaml")


def write_deps() -> None:
    """Bring the code lists of dvc.yaml up to date, leaving all else as it is."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    pipeline = yaml.load(ROOT / "dvc.yaml")
    for name, stage in pipeline["stages"].items():
        stage["deps"][:] = [dep for dep in stage["deps"] if not is_code(dep)] + code_of(name)
    yaml.dump(pipeline, ROOT / "dvc.yaml")


if __name__ == "__main__":
    write_deps()
