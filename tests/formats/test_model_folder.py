"""The folder of snapshots."""

from pathlib import Path

import pytest

from lm.formats.model_folder import snapshot_files, snapshot_name


def test_snapshots_are_found_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (1000, 0, 25):
        (tmp_path / snapshot_name(step)).touch()
    assert list(snapshot_files(tmp_path).items()) == [
        (step, tmp_path / f"{step}.safetensors") for step in (0, 25, 1000)
    ]


@pytest.mark.parametrize("name", ["best.safetensors", "7.npz", "07.safetensors"])
def test_a_file_of_another_name_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"{name}: must be named STEP.safetensors"):
        snapshot_files(tmp_path)
