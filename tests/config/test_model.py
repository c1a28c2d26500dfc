"""Mistakes in the model section: each is one line that names the place, the rule and the value."""

from pathlib import Path
from typing import Any

import pytest

from lm.config.model import ModelConfig
from tests.model.configs import small_config
from tests.small import MODEL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 100, "n_heads": 8}, "model.d_model: must be a multiple of n_heads=8, got 100"),
        ({"n_heads": 4, "n_kv_heads": 3}, "model.n_kv_heads: must divide n_heads=4, got 3"),
        ({"n_heads": 4, "n_kv_heads": 8}, "model.n_kv_heads: must divide n_heads=4, got 8"),
        (
            {"d_model": 12, "n_heads": 4, "positions": "rope"},
            "model.positions: 'rope' needs an even d_model / n_heads, got 3",
        ),
        (
            {"d_model": 15, "n_heads": 3, "positions": "sinusoidal"},
            "model.positions: 'sinusoidal' needs an even d_model, got 15",
        ),
        (
            {"positions": "alibi", "look_back_heads": 1},
            "model.look_back_heads: needs model.positions=rope, got 1",
        ),
        (
            {"positions": "rope", "n_kv_heads": 2, "look_back_heads": 3},
            "model.look_back_heads: must be at most the 2 key/value heads, got 3",
        ),
    ],
)
def test_an_impossible_combination_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        small_config(**changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("d_model", 100.5, "a valid integer, got 100.5"),
        ("d_model", True, "a valid integer, got True"),
        ("d_model", "128", "a valid integer, got '128'"),
        ("d_model", None, "a valid integer, got None"),
        ("d_model", 0, "greater than or equal to 1, got 0"),
        ("n_layers", -1, "greater than or equal to 1, got -1"),
        ("context_length", 1, "greater than or equal to 2, got 1"),
        ("window", 0, "greater than or equal to 1, got 0"),
        ("d_ff", 0, "greater than or equal to 1, got 0"),
        ("base_width", 0, "greater than or equal to 1, got 0"),
        ("base_width", 64.5, "a valid integer, got 64.5"),
        ("look_back_heads", -1, "greater than or equal to 0, got -1"),
        ("zero_init", 1, "true or false, got 1"),
        ("dropout", 1.0, "less than 1, got 1.0"),
        ("dropout", -0.1, "greater than or equal to 0, got -0.1"),
        ("dropout", float("nan"), "a finite number, got nan"),
        ("dropout", True, "a valid number, got True"),
        ("rope_theta", 1.0, "greater than 1, got 1.0"),
        ("rope_theta", float("inf"), "a finite number, got inf"),
        ("bias", 1, "true or false, got 1"),
        ("qk_norm", "yes", "true or false, got 'yes'"),
        ("norm", "batchnorm", "'rmsnorm', 'layernorm' or 'none', got 'batchnorm'"),
        ("norm_position", None, "'pre' or 'post', got None"),
        ("positions", "RoPE", "'rope', 'learned', 'sinusoidal', 'alibi' or 'none', got 'RoPE'"),
        ("feed_forward", "relu", "'swiglu', 'gelu', 'gelu_tanh', 'silu' or 'relu2', got 'relu'"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        small_config(**{name: value})
    assert str(error.value) == f"model.{name}: must be {rule}"


def test_an_unknown_parameter_is_refused_with_the_nearest_one_or_all() -> None:
    with pytest.raises(ValueError, match=r"^model\.d_modle: unknown parameter, did you mean model\.d_model\?$"):
        small_config(d_modle=128)
    with pytest.raises(
        ValueError, match=r"^model\.colour: unknown parameter, must be one of context_length, d_model, "
    ):
        small_config(colour=128)


def test_a_missing_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^model\.bias: missing$"):
        ModelConfig.parse({name: value for name, value in MODEL.items() if name != "bias"})


def test_each_of_several_mistakes_has_its_line() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        small_config(d_model=0, dropout=2.0)
    assert str(error.value).splitlines() == [
        "model.d_model: must be greater than or equal to 1, got 0",
        "model.dropout: must be less than 1, got 2.0",
    ]


@pytest.mark.parametrize("values", [None, [], "x"])
def test_a_section_that_is_no_mapping_is_refused(values: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        ModelConfig.parse(values)
    assert str(error.value) == f"model: must be a mapping of parameters, got {values!r}"


def test_an_integer_is_taken_for_a_float_and_null_where_the_comment_says_so() -> None:
    config = small_config(dropout=0, rope_theta=500, n_kv_heads=None, d_ff=None, window=None, base_width=None)
    assert (config.dropout, config.rope_theta, config.sizes.n_kv_heads) == (0.0, 500.0, config.n_heads)
    assert config.output_scale == 1.0


def test_a_section_is_read_from_its_key_of_a_file_and_cannot_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    lines = [f"  {name}: {'null' if value is None else str(value).lower()}" for name, value in MODEL.items()]
    path.write_text("\n".join(["seed: 1", "model:", *lines]))
    config = ModelConfig.load(path)
    assert config == ModelConfig.parse(MODEL)
    with pytest.raises(ValueError, match="frozen"):
        config.d_model = 8
