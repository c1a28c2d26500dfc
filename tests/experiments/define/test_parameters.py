"""Tests of experiments/define/parameters.py."""

from typing import Any

import pytest

from experiments.define.parameters import parse_override


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
        ("data.train=[a", "data.train: must be a value of YAML, got '[a'"),
    ],
)
def test_a_wrong_override_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_override(text)
    assert str(caught.value) == message
