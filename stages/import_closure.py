"""Which files of ours a stage runs: its own, and all that it imports, directly or through others."""

import ast
from functools import cache
from pathlib import Path

from stages.snapshot import ROOT

OURS = ("lm", "stages")


def source_of(module: str) -> Path | None:
    """The file of a module of ours, or None for any other module."""
    if module.split(".")[0] not in OURS:
        return None
    path = ROOT / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def imports(path: Path) -> frozenset[Path]:
    """The files of ours that one file imports, with the `__init__.py` of each package around them."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where code comes from"
            assert node.module is not None
            modules.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    parents = {".".join(module.split(".")[: i + 1]) for module in modules for i in range(module.count(".") + 1)}
    return frozenset(source for module in parents if (source := source_of(module)))


def closure(path: Path) -> set[Path]:
    """All files of ours that run when this file runs."""
    found = {path, path.parent / "__init__.py"}
    waiting = [*found]
    while waiting:
        new = imports(waiting.pop()) - found
        found |= new
        waiting.extend(new)
    return found
