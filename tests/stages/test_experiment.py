"""The parameters that an experiment began with."""

from pathlib import Path

import pytest

from stages import experiment


def test_an_experiment_knows_what_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert not experiment.is_experiment()
    monkeypatch.setenv("DVC_EXP_NAME", "mine")
    assert experiment.is_experiment()
    assert experiment.noted_parameters() is None  # its first stage has not run
    experiment.note_parameters({"train": {"steps": 3, "tokens": None}})
    assert experiment.noted_parameters() == {"train": {"steps": 3, "tokens": None}}


@pytest.mark.parametrize("other", ["name", "process", "start of the process"])
def test_what_another_run_began_with_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_EXP_NAME", "mine")
    experiment.note_parameters({"train": {"steps": 3}})
    if other == "name":
        monkeypatch.setenv("DVC_EXP_NAME", "yours")
    elif other == "process":
        monkeypatch.setattr("os.getppid", lambda: 1)
    else:
        note = Path(".dvc/tmp/storyline-experiment.json")
        run = experiment._run()
        note.write_text(note.read_text().replace(f'"{run[2]}"', f'"{run[2]}0"'))
    assert experiment.noted_parameters() is None
