"""Mistakes in the train section: each is one line that names the place, the rule and the value."""

from typing import Any

import pytest

from tests.small import train_config


@pytest.mark.parametrize("accumulate", [3, 8])
def test_a_batch_that_cannot_be_split_is_refused(accumulate: int) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        train_config(batch_size=4, accumulate=accumulate)
    assert str(error.value) == f"train.accumulate: must divide batch_size=4 into equal parts, got {accumulate}"


def test_nesterov_s_momentum_without_momentum_is_refused() -> None:
    assert train_config(nesterov=True).nesterov
    assert not train_config(momentum=0.0).nesterov
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        train_config(nesterov=True, momentum=0.0)
    assert str(error.value) == "train.nesterov: needs a momentum above 0, got momentum=0"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("device", "cuda", "auto or cpu with backend 'numpy', got 'cuda'"),
        ("device", "mps", "auto or cpu with backend 'numpy', got 'mps'"),
        ("precision", "bf16", "auto or fp32 with backend 'numpy', got 'bf16'"),
        ("precision", "fp16", "auto or fp32 with backend 'numpy', got 'fp16'"),
        ("compile", True, "auto or false with backend 'numpy', got True"),
    ],
)
def test_what_numpy_cannot_do_is_refused(name: str, value: Any, rule: str) -> None:
    train_config(backend="torch", **{name: value})
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        train_config(backend="numpy", **{name: value})
    assert str(error.value) == f"train.{name}: must be {rule}"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("steps", 1e-2, "a valid integer, got 0.01"),
        ("steps", True, "a valid integer, got True"),
        ("steps", 0, "greater than or equal to 1, got 0"),
        ("tokens", 0, "greater than or equal to 1, got 0"),
        ("tokens", 1e6 + 0.5, "a valid integer, got 1000000.5"),
        ("learning_rate", float("nan"), "a finite number, got nan"),
        ("learning_rate", 0.0, "greater than 0, got 0.0"),
        ("learning_rate", True, "a valid number, got True"),
        ("learning_rate", "1e-3", "a valid number, got '1e-3'"),
        ("betas", 0.9, "a list of 2 numbers, got 0.9"),
        ("eps", 0.0, "greater than 0, got 0.0"),
        ("momentum", 1.0, "less than 1, got 1.0"),
        ("weight_decay", -0.1, "greater than or equal to 0, got -0.1"),
        ("clip_norm", 0.0, "greater than 0, got 0.0"),
        ("clip_norm", float("inf"), "a finite number, got inf"),
        ("warmup_steps", -1, "greater than or equal to 0, got -1"),
        ("decay_fraction", 1.5, "less than or equal to 1, got 1.5"),
        ("final_learning_rate", -0.1, "greater than or equal to 0, got -0.1"),
        ("patience", 0, "greater than or equal to 1, got 0"),
        ("compile", 1, "true or false or 'auto', got 1"),
        ("nesterov", 1, "true or false, got 1"),
        ("backend", "jax", "'torch' or 'numpy', got 'jax'"),
        ("precision", "fp8", "'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ("optimizer", "lion", "'muon', 'adamw', 'adam' or 'sgd', got 'lion'"),
        ("schedule", "poly", "'cosine', 'linear', 'constant' or 'wsd', got 'poly'"),
        ("keep", "first", "'best' or 'last', got 'first'"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        train_config(**{name: value})
    assert str(error.value) == f"train.{name}: must be {rule}"


@pytest.mark.parametrize("betas", [[0.9], [0.9, 0.9, 0.9]])
def test_a_list_of_the_wrong_length_is_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared as a whole)
        train_config(betas=betas)
    assert str(error.value) == f"train.betas: must be a list of 2 numbers, got {betas}"


def test_a_wrong_item_of_a_list_is_named_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"^train\.betas\.1: must be less than 1, got 1\.0$"):
        train_config(betas=[0.9, 1.0])


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^train\.lr: unknown parameter, must be one of .*learning_rate"):
        train_config(lr=0.1)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(None, 12), (1, 1), (31, 1), (32, 1), (63, 1), (64, 2), (3200, 100)],
)
def test_a_budget_of_tokens_pays_for_whole_steps_and_at_least_one(tokens: int | None, expected: int) -> None:
    assert train_config(steps=12, tokens=tokens, batch_size=4).n_steps(context_length=8) == expected


@pytest.mark.parametrize(
    ("warmup_steps", "n_steps", "expected"), [(None, 1000, 50), (None, 19, 0), (0, 1000, 0), (7, 1000, 7)]
)
def test_the_warm_up_is_a_twentieth_of_the_run_unless_given(
    warmup_steps: int | None, n_steps: int, expected: int
) -> None:
    assert train_config(warmup_steps=warmup_steps).n_warmup_steps(n_steps) == expected
