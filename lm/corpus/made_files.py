"""Files that no one wrote by hand: what the pipeline writes itself, and what tools leave in a repository.

A run in a temporary copy reads the user's files from the workspace, where the outs of another run may lie. If they were
read, a result would depend on what had run before.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

# Folders of tools. A virtual environment may have any name, and is known by its pyvenv.cfg.
_OF_TOOLS = {
    *(".dvc", ".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".resume", ".tensorboard", ".timings"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".idea", ".vscode"),
    *("__pycache__", "node_modules", "htmlcov", "dvc_plots"),
}


class MadeFiles:
    """The files that the pipeline writes (`written`: files or folders), and those in tools' folders below `root`.

    Symbolic links are followed one by one: a link to such a file is one too. A link into DVC's cache is no file of a
    tool, because text that a user has put under DVC's control may be such a link.
    """

    def __init__(self, root: Path, written: Iterable[Path]) -> None:
        self._root = root.resolve()
        self._cache = self._root / ".dvc" / "cache"
        self._written = {_place(path) for path in written}
        self._is_of_a_tool = lru_cache(maxsize=None)(_is_of_a_tool)

    def __contains__(self, path: Path) -> bool:
        return self.is_written(path) or any(map(self._is_in_tools_folder, _names(path)))

    def is_written(self, path: Path) -> bool:
        """Whether the pipeline writes a file."""
        return any(not self._written.isdisjoint((name, *name.parents)) for name in _names(path))

    def _is_in_tools_folder(self, name: Path) -> bool:
        if not name.is_relative_to(self._root) or name.is_relative_to(self._cache):
            return False
        folders = (folder for folder in name.parents if folder.is_relative_to(self._root) and folder != self._root)
        return any(map(self._is_of_a_tool, folders))


def _names(path: Path) -> Iterator[Path]:
    """The name of a file, and the names that it leads to if it is a symbolic link."""
    while True:
        path = _place(path)
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _place(path: Path) -> Path:
    """The path with its folder's links followed, but not its own."""
    return path.parent.resolve() / path.name


def _is_of_a_tool(folder: Path) -> bool:
    return folder.name in _OF_TOOLS or folder.suffix in (".egg-info", ".dist-info") or (folder / "pyvenv.cfg").exists()
