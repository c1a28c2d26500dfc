"""Tests of lm/analysis/strategies.py: texts of several strategies side by side."""

import json
from typing import Any

import pytest

from lm.analysis.strategies import TextSet, as_json, as_markdown, write_texts
from lm.config.sample import SampleConfig
from lm.generation.written import WrittenText
from lm.tokenizer.learning import bytes_alone
from tests.small import numpy_twin, random_model, tokenizer_config

TOKENIZER = bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
MODEL = numpy_twin(random_model(TOKENIZER.vocab_size, context_length=32))
PLAIN: dict[str, Any] = {
    "prompts": ["A hen", "two\nlines"],
    "max_new_tokens": 12,
    "temperature": 1.0,
    "top_k": None,
    "top_p": 0.9,
    "device": "cpu",
}
STRATEGIES = {"greedy": {"temperature": 0}, "short": {"max_new_tokens": 3, "top_p": 0.9}}


def sets_of(**changes: Any) -> list[TextSet]:
    config = SampleConfig.parse(PLAIN | changes)
    return write_texts(MODEL, TOKENIZER, config, end_id=TOKENIZER.end_id, seed=5, progress=lambda _n: None)


def texts_of(one: TextSet) -> list[WrittenText]:
    return list(one.texts)


def test_each_strategy_writes_what_it_would_write_alone() -> None:
    sets = sets_of(strategies=STRATEGIES)
    assert [one.name for one in sets] == ["", "greedy", "short"]
    assert texts_of(sets[0]) == texts_of(sets_of()[0])
    assert texts_of(sets[1]) == texts_of(sets_of(temperature=0)[0])
    assert texts_of(sets[2]) == texts_of(sets_of(max_new_tokens=3)[0])
    (plain,) = sets_of(samples=2, penalty_alpha=None, strategies={"plain": {}})[1:]
    assert texts_of(plain) == texts_of(sets_of(top_p=None)[0])  # what it does not name is off
    assert len({text.text for one in sets for text in one.texts}) == 6


def test_json_holds_settings_texts_and_measures_of_all_strategies() -> None:
    sets = sets_of(strategies=STRATEGIES)
    values = json.loads(json.dumps(as_json(sets, 5), allow_nan=False))
    assert list(values) == ["seed", "settings", "samples", "measures", "strategies"]
    assert values["settings"].items() >= {"temperature": 1.0, "top_k": None, "top_p": 0.9, "max_new_tokens": 12}.items()
    assert not {"prompts", "device", "strategies"} & set(values["settings"])
    assert [sample["prompt"] for sample in values["samples"]] == PLAIN["prompts"]
    short = values["strategies"]["short"]
    assert short["settings"] == {"max_new_tokens": 3, "top_p": 0.9}
    for one in (values, short, values["strategies"]["greedy"]):
        tokens = sum(len(sample["ids"]) for sample in one["samples"])
        assert one["measures"]["n_texts"] == 2
        assert one["measures"]["tokens_per_text"] == tokens / 2
        assert one["measures"]["complete"] == sum(sample["complete"] for sample in one["samples"]) / 2
        assert all(sample["log_probability"] < 0 for sample in one["samples"])
        assert one["measures"]["perplexity"] > 1
    # of all texts, the greedy ones surprise the model least
    assert values["strategies"]["greedy"]["measures"]["perplexity"] < values["measures"]["perplexity"]


def test_markdown_shows_them_side_by_side() -> None:
    sets = sets_of(strategies=STRATEGIES)
    lines = as_markdown(sets, 5).splitlines()
    assert lines[2] == "At most 12 tokens, seed 5. Prompts in bold."
    table = [line for line in lines if line.startswith("|")]
    assert [row.split(" | ")[:2] for row in table[2:]] == [
        ["| drawn", "temperature 1, top-p 0.9"],
        ["| greedy", "temperature 0"],
        ["| short", "max-new-tokens 3, top-p 0.9"],
    ]
    assert len({row.count("|") for row in table}) == 1
    assert [line for line in lines if line.startswith("## ")] == ["## A hen", "## two lines"]
    assert [line for line in lines if line.startswith("### ")] == ["### drawn", "### greedy", "### short"] * 2
    assert sum(line.startswith("> **A hen**") for line in lines) == 3
    alone = as_markdown(sets_of(), 5).splitlines()
    assert not [line for line in alone if line.startswith("### ")]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cold", {"temperature": -1}, "cold.temperature: must be greater than or equal to 0, got -1"),
        (
            "cold",
            {"temp_erature": 1},
            "cold.temp_erature: unknown parameter, did you mean sample.strategies.cold.temperature?",
        ),
        ("other", {"prompts": ["x"]}, "other.prompts: is the same for all strategies"),
    ],
)
def test_a_mistake_in_a_strategy_is_one_line(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the whole message is compared)
        SampleConfig.parse(PLAIN | {"strategies": {name: changes}})
    assert str(raised.value) == f"sample.strategies.{message}"
