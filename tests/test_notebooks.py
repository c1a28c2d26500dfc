"""The notebooks: they run from their folder, write nothing into the repository, and hold no outputs in git."""

import os
import subprocess

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.project import ROOT

NAMES = ["data", "tokenizer", "model", "chat"]


def notebook(name: str) -> NotebookNode:
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call, no-any-return]


def files() -> str:
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(status, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_all_notebooks_run_and_write_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLINE_TINY", "1")
    monkeypatch.setitem(os.environ, "PYDEVD_DISABLE_FILE_VALIDATION", "1")
    before = files()
    whole = notebook(NAMES[0])  # one kernel runs all, because its start takes longer than the cells
    whole.cells = [cell for name in NAMES for cell in notebook(name).cells]
    NotebookClient(whole, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    said = "".join(output.get("text", "") for cell in whole.cells for output in cell.get("outputs", []))
    assert "bits a byte" in said
    assert "previous token" in said
    assert "tokens are what the assistant says" in said
    assert files() == before


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_hold_no_outputs(name: str) -> None:
    for cell in notebook(name).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
