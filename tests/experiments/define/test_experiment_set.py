"""Tests of experiments/define/experiment_set.py."""

from pathlib import Path

import pytest

from experiments.define.experiment_set import select, with_overrides
from experiments.define.parameters import flatten, parse_override
from tests.experiments.define.small_file import load
from tests.experiments.results_by_hand import PARAMS


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("norms", ["norms-rms-s1", "norms-rms-s2", "norms-none-s1", "norms-none-s2"]),
        ("norms-none", ["norms-none-s1", "norms-none-s2"]),
        ("norms-none-s2", ["norms-none-s2"]),
        ("rates-0.003-4", ["rates-0.003-4"]),
    ],
)
def test_a_set_an_experiment_or_a_run_can_be_selected(tmp_path: Path, name: str, runs: list[str]) -> None:
    assert [run.name for run in select(load(tmp_path), name).runs] == runs


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^norm: no such experiment, did you mean norms\?; `python -m experiments"):
        select(load(tmp_path), "norm")


def test_overrides_and_seeds_of_the_command_line_hold_for_all_runs(tmp_path: Path) -> None:
    norms = with_overrides(load(tmp_path)["norms"], parse_override("train.steps=5"), [7])
    assert [(run.name, run.overrides["train.steps"], run.overrides["seed"]) for run in norms.runs] == [
        ("norms-rms-s7", 5, 7),
        ("norms-none-s7", 5, 7),
    ]
    rates = with_overrides(load(tmp_path)["rates"], {}, [3, 4])
    assert [run.name for run in rates.runs][:3] == ["rates-0.0001-2-s3", "rates-0.0001-2-s4", "rates-0.0001-4-s3"]


def test_a_value_that_the_pipeline_refuses_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (run,) = with_overrides(load(tmp_path)["base"], {"model.d_model": 66}, None).runs
    with pytest.raises(ValueError, match=r"^base: model\.d_model: must be a multiple of n_heads=4, got 66$"):
        run.parameters(PARAMS)


def test_the_seed_of_a_set_with_seeds_is_replaced_by_a_flag_and_not_by_an_override(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^seed: must be given as --seeds 5 for norms, which runs once for each seed$"
    ):
        with_overrides(load(tmp_path)["norms"], {"seed": 5}, None)
    (run,) = with_overrides(load(tmp_path)["base"], {"seed": "5"}, None).runs
    with pytest.raises(ValueError, match=r"^base: seed: must be an integer from 0 to 2\*\*32 - 1, got '5'$"):
        run.parameters(PARAMS)


def test_a_run_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    run = load(tmp_path)["norms"].runs[2]
    values = run.parameters(PARAMS)
    different = {key: value for key, value in flatten(values).items() if flatten(PARAMS)[key] != value}
    assert different == run.changes(PARAMS)
    assert different == {"model.d_model": 64, "model.norm": "none", "train.steps": 20, "train.batch_size": 4, "seed": 1}
