"""Tests of experiments/define/parameters.py."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from experiments.define.parameters import load_params, parse_override
from tests.project import ROOT


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("model.d_ff=null", None),
        ("data.train=[a/b.txt, '**/*.txt']", ["a/b.txt", "**/*.txt"]),
        ("train.compile=true", True),
        ("data.source=files", "files"),
        ("data.separator=", None),
    ],
)
def test_an_override_is_read_as_yaml(text: str, value: Any) -> None:
    assert list(parse_override(text).values()) == [value]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.norm", "model.norm: must have the form section.parameter=value"),
        ("model.norms=none", "model.norms: no such parameter, did you mean model.norm?"),
        ("dmodel=64", "dmodel: no such parameter, did you mean model.d_model?"),
        ("train.d_model=64", "train.d_model: no such parameter, did you mean model.d_model?"),
        ("train.log_every=5", "train.log_every: no such parameter, it has moved to observe.log_every"),
        ("data.train=[a", "data.train: must be a value of YAML, got '[a'"),
    ],
)
def test_a_wrong_override_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        parse_override(text)
    assert str(caught.value) == message


def test_a_file_of_an_earlier_version_gets_the_line_that_says_what_has_moved(tmp_path: Path) -> None:
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    values["train"] |= values.pop("observe")
    yaml.dump(values, tmp_path / "params.yaml")
    message = "train.log_every to observe.log_every, train.tensorboard to observe.tensorboard"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_params(tmp_path / "params.yaml")
