"""Experiments start from the committed params.yaml."""

import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.define.params_text import with_values
from experiments.run.dvc_commands import exp_run_command
from experiments.run.start import load_start
from tests.experiments.results_by_hand import PARAMS, made_run
from tests.project import ROOT


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that holds params.yaml below its root; the working directory is beside the file."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-qm", "state"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.chdir(project)
    return project


def edit(repository: Path, **values: object) -> None:
    path = repository / "params.yaml"
    path.write_text(with_values(path.read_text(), {key.replace("_", ".", 1): value for key, value in values.items()}))


def test_a_command_undoes_the_edits_of_the_workspace(repository: Path) -> None:
    edit(repository, model_d_model=256, train_betas=[0.5, 0.6], train_steps=7)
    start = load_start()
    assert start.params == PARAMS
    assert "model.d_model is 256 here, 128 there" in start.differences()
    words = exp_run_command(made_run("x", train_steps=7, model_norm="none"), start.params, start.workspace)
    assert words[:6] == ["dvc", "exp", "run", "--temp", "-n", "made-x"]
    assert words[7::2] == ["train.steps=7", "model.norm=none", "model.d_model=128", "train.betas=[0.9,0.98]"]


def test_a_parameter_that_only_the_workspace_has_is_taken_from_there(repository: Path) -> None:
    edit(repository, model_new=3)
    assert load_start().params["model"] == PARAMS["model"] | {"new": 3}


def test_without_a_committed_file_it_says_what_to_do(repository: Path) -> None:
    subprocess.run(["git", "rm", "-q", "--cached", "params.yaml"], check=True)
    commit = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "none", "--allow-empty"]
    subprocess.run(commit, check=True)
    with pytest.raises(ValueError, match=r"^params\.yaml: must be committed, because .*: git add --all && git commit$"):
        load_start()
