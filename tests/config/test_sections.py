"""Tests of lm/config/ and of params.yaml."""

import importlib
import inspect
import pkgutil
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

import lm.config
from lm.config.base import Section, load_seed, parse_seed, parse_yaml
from lm.config.data import DataConfig
from lm.config.model import ModelConfig
from lm.config.sample import SampleConfig
from lm.config.sections import SECTIONS, check_parameters
from lm.config.train import TrainConfig
from tests.small import MODEL, TRAIN, model_config, train_config

PARAMS = Path(__file__).parents[2] / "params.yaml"
PARAMETERS: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS)


def lines_of(section: str) -> dict[str, str]:
    """The line of each parameter of a section of params.yaml."""
    after = PARAMS.read_text(encoding="utf-8").split(f"\n{section}:", 1)[1]
    lines = re.split(r"\n(?=\S)", after)[0].split("\n")
    return {found[1]: line for line in lines if (found := re.match(r"  (\w+):", line))}


@pytest.mark.parametrize("name", SECTIONS)
def test_params_yaml_holds_every_parameter_of_a_section_with_a_comment(name: str) -> None:
    section, lines = SECTIONS[name], lines_of(name)
    section.load(PARAMS)
    # The file goes by what belongs together, a class begins with what it shares with others.
    assert sorted(lines) == sorted(section.model_fields)
    assert [line for line in lines.values() if not re.search(r" # \S", line)] == []


def test_params_yaml_holds_the_seed_and_the_sections_and_nothing_else() -> None:
    assert set(YAML(typ="safe", pure=True).load(PARAMS)) == {"seed", *SECTIONS}
    assert load_seed(PARAMS) >= 0


def write(path: Path, text: str) -> Path:
    file = path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("rate", ["1e-05", "1e-5", "1.0e-5", "0.00001", "1E-5"])
def test_every_way_to_write_a_small_number_is_a_number(tmp_path: Path, rate: str) -> None:
    dumped = "".join(f"  {name}: {value}\n" for name, value in TRAIN.items() if value is not None)
    nothing = "".join(f"  {name}: null\n" for name, value in TRAIN.items() if value is None)
    text = f"train:\n{dumped}{nothing}".replace("False", "false").replace(
        f"learning_rate: {TRAIN['learning_rate']}", f"learning_rate: {rate}"
    )
    assert TrainConfig.load(write(tmp_path, text)) == train_config(learning_rate=0.00001)


def error_of(section: type[Section], values: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        section.parse(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 18, "n_heads": 4}, "model.d_model: must be a multiple of n_heads=4, got 18"),
        ({"n_heads": 4, "n_kv_heads": 3}, "model.n_kv_heads: must divide n_heads=4, got 3"),
        ({"d_model": 6}, "model.positions: 'rope' needs an even d_model / n_heads, got 3"),
        (
            {"d_model": 3, "n_heads": 1, "positions": "sinusoidal"},
            "model.positions: 'sinusoidal' needs an even d_model, got 3",
        ),
        ({"context_length": 1}, "model.context_length: must be greater than or equal to 2, got 1"),
        ({"window": 0}, "model.window: must be greater than or equal to 1, got 0"),
        ({"dropout": 1.0}, "model.dropout: must be less than 1, got 1.0"),
        ({"n_layers": 2.5}, "model.n_layers: must be a valid integer, got 2.5"),
        ({"n_layers": "2"}, "model.n_layers: must be a valid integer, got '2'"),
        ({"n_layers": True}, "model.n_layers: must be a valid integer, got True"),
        ({"rope_theta": float("inf")}, "model.rope_theta: must be a finite number, got inf"),
        ({"qk_norm": "no"}, "model.qk_norm: must be true or false, got 'no'"),
        (
            {"norm": "batch"},
            "model.norm: must be 'rmsnorm', 'layernorm' or 'none', got 'batch'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_the_rule_and_the_value(changes: dict[str, Any], message: str) -> None:
    assert error_of(ModelConfig, MODEL | changes) == message


def test_mistakes_in_other_sections_are_named_too() -> None:
    assert error_of(TrainConfig, TRAIN | {"accumulate": 3}) == (
        "train.accumulate: must divide batch_size=4 into equal parts, got 3"
    )
    assert (
        error_of(TrainConfig, TRAIN | {"learning_rate": 0.0}) == "train.learning_rate: must be greater than 0, got 0.0"
    )
    assert error_of(TrainConfig, TRAIN | {"betas": [0.9, 1.0]}) == "train.betas.1: must be less than 1, got 1.0"
    assert error_of(TrainConfig, TRAIN | {"betas": [0.9]}) == "train.betas: must be a list of 2 numbers, got [0.9]"
    assert error_of(TrainConfig, TRAIN | {"backend": "numpy", "precision": "fp16"}) == (
        "train.precision: must be auto or fp32 with backend 'numpy', got 'fp16'"
    )
    assert error_of(TrainConfig, TRAIN | {"momentum": 0.0, "nesterov": True}) == (
        "train.nesterov: needs a momentum above 0, got momentum=0"
    )
    assert error_of(TrainConfig, TRAIN | {"attention": "flex", "rows": "documents"}) == (
        "train.attention: 'flex' needs rows 'windows', got 'documents'"
    )
    data = dict(YAML(typ="safe", pure=True).load(PARAMS)["data"])
    assert error_of(DataConfig, data | {"source": "files", "train": []}) == (
        "data.train: must name at least one file when data.source is 'files', got []"
    )
    for split in ("", "train[", "train[5:5]", "train[5:2]", "train[-5:]", "train[:10%]", "train[1]"):
        rule = "must be a split, or rows of one such as 'train[100:200]'"
        assert error_of(DataConfig, data | {"train_split": split}) == f"data.train_split: {rule}, got {split!r}"
        assert error_of(DataConfig, data | {"valid_split": split}) == f"data.valid_split: {rule}, got {split!r}"
    for valid, train in (("train", "train"), ("train[:9]", "train[8:]"), ("train[5:]", "train[:6]")):
        rule = f"must share no rows with data.train_split={train!r}, got {valid!r}"
        assert error_of(DataConfig, data | {"train_split": train, "valid_split": valid}) == f"data.valid_split: {rule}"
    DataConfig.parse(data | {"train_split": "train[8:]", "valid_split": "train[:8]"})
    sample = dict(YAML(typ="safe", pure=True).load(PARAMS)["sample"])
    assert error_of(SampleConfig, sample | {"top_p": 0.0}) == "sample.top_p: must be greater than 0, got 0.0"
    assert error_of(SampleConfig, sample | {"stop": [""]}) == "sample.stop.0: must not be empty, got ''"
    for strategies, message in [
        (5, "sample.strategies: must be a mapping of parameters, got 5"),
        ({"greedy": None}, "sample.strategies.greedy: must be a mapping of parameters, got None"),
        ({"": {"beams": 2}}, "sample.strategies: must not be empty, got ''"),
    ]:
        assert error_of(SampleConfig, sample | {"strategies": strategies}) == message
    assert error_of(SampleConfig, sample | {"require": ["a"]}) == (
        "sample.beams: must be 2 or more where sample.require holds something, got 1"
    )
    assert (
        error_of(SampleConfig, sample | {"beams": 2, "samples": 3}) == "sample.samples: must be at most beams=2, got 3"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ramp_steps": 3}, "ramp_steps: needs accumulate above 1, because the batch grows by its parts, got 3"),
        ({"ramp_steps": -1}, "ramp_steps: must be greater than or equal to 0, got -1"),
        (
            {"shard": True, "precision": "fp16"},
            "shard: must be false with precision fp16, because shards cannot share its loss scale",
        ),
        ({"shard": True, "compile": True}, "shard: must be false with compile, got true"),
        ({"threads": 0}, "threads: must be greater than or equal to 1, got 0"),
        ({"attention": "flash"}, "attention: must be 'auto', 'fused', 'math' or 'flex', got 'flash'"),
        ({"if_diverged": "ignore"}, "if_diverged: must be 'fail', 'record' or 'skip', got 'ignore'"),
    ],
)
def test_choices_of_training_that_cannot_be_are_named(changes: dict[str, Any], message: str) -> None:
    assert error_of(TrainConfig, TRAIN | changes) == f"train.{message}"


@pytest.mark.parametrize("compiled", [False, "auto"])
def test_shares_of_a_model_may_leave_the_compiler_to_auto(compiled: bool | str) -> None:
    assert train_config(shard=True, compile=compiled, precision="bf16").shard


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("attention", "fused", "auto with backend 'numpy', got 'fused'"),
        ("threads", 2, "null with backend 'numpy', got 2"),
        ("processes", 2, "auto or 1 with backend 'numpy', got 2"),
        ("shard", True, "false with backend 'numpy', got True"),
        ("recompute", True, "false with backend 'numpy', got True"),
    ],
)
def test_ways_to_compute_that_numpy_has_not_are_named(name: str, value: Any, rule: str) -> None:
    assert error_of(TrainConfig, TRAIN | {"backend": "numpy", name: value}) == f"train.{name}: must be {rule}"
    assert train_config(backend="numpy", compile="auto", processes="auto", device="auto").backend == "numpy"


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", True, None])
def test_processes_are_a_number_or_auto(value: Any) -> None:
    assert error_of(TrainConfig, TRAIN | {"processes": value}).startswith("train.processes")
    assert [train_config(processes=n).processes for n in (1, 8, "auto")] == [1, 8, "auto"]


def test_unknown_and_missing_parameters_are_one_line_each() -> None:
    values = {name: value for name, value in MODEL.items() if name not in ("bias", "d_model")} | {"d_modle": 8}
    assert error_of(ModelConfig, values).split("\n") == [
        "model.bias: missing",
        "model.d_modle: unknown parameter, did you mean model.d_model?",  # one mistake, one line
    ]


def test_a_whole_number_serves_where_a_fraction_may_stand() -> None:
    assert train_config(learning_rate=1, weight_decay=0).learning_rate == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": must have the key 'train'"),
        ("- 1", ": must have the key 'train'"),
        ("model: {}", ": must have the key 'train'"),
        (
            "a: 1\ntrain: {\n  b: 2\n",
            ":4: not valid YAML: expected .*, while parsing a flow mapping that begins in line 2$",
        ),
        ("train: 1\ntrain: 2", ':2: not valid YAML: found duplicate key "train" [^.]* line 1$'),
        ("train: \x07", ": not valid YAML: "),
        ("seed: 1\ntrain: *nowhere", ":2: not valid YAML: found undefined alias 'nowhere'$"),
        ("train:\n  steps: 1: 2", ":2: not valid YAML: mapping values are not allowed here$"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}{message}") as caught:
        TrainConfig.load(path)
    assert "\n" not in str(caught.value)


def test_yaml_is_read_alike_whether_a_reader_in_c_is_installed_or_not() -> None:
    assert parse_yaml("{asks: Does it run?, rate: 1e-05}", "text") == {"asks": "Does it run?", "rate": 1e-05}


def test_a_section_cannot_be_changed_once_it_is_read() -> None:
    config = model_config()
    with pytest.raises(ValueError, match="frozen"):
        config.d_model = 8


@pytest.mark.parametrize("seed", ["0", "1337", "1e3", str(2**32 - 1)])
def test_a_seed_is_a_number_of_32_bits(tmp_path: Path, seed: str) -> None:
    assert load_seed(write(tmp_path, f"seed: {seed}")) == float(seed)


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "'1'", "true", "null", "[1]"])
def test_anything_else_is_no_seed(tmp_path: Path, seed: str) -> None:
    with pytest.raises(ValueError, match=r"^seed: must be an integer from 0 to 2\*\*32 - 1, got "):
        load_seed(write(tmp_path, f"seed: {seed}"))


def test_derived_sizes_follow_from_the_others() -> None:
    assert model_config(d_ff=None, d_model=128).sizes.d_ff == 320  # 8/3 * 128 = 341, to the nearest multiple of 64
    assert model_config(d_ff=None, d_model=16).sizes.d_ff == 64
    assert model_config(d_ff=None, feed_forward="gelu").sizes.d_ff == 64
    assert model_config(d_ff=100).sizes.d_ff == 100
    assert [model_config(n_kv_heads=n).sizes.n_kv_heads for n in (None, 1)] == [2, 1]
    assert model_config().d_head == 8


# The sequences of a part, the parts of a batch, and the steps over which they grow to that.
ramps = st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(0, 9))


@given(ramps, st.integers(0, 12))
def test_a_batch_ramps_up_from_one_part_to_all(ramp: tuple[int, int, int], n_steps: int) -> None:
    part_size, accumulate, ramp_steps = ramp
    config = train_config(batch_size=part_size * accumulate, accumulate=accumulate, ramp_steps=ramp_steps)
    n_parts = [config.n_parts(step) for step in range(12)]
    assert n_parts[ramp_steps:] == [accumulate] * len(n_parts[ramp_steps:])
    # A straight line from 1 part to one more than all, rounded down.
    line = [1 + step * accumulate / ramp_steps for step in range(ramp_steps)]
    assert all(n <= point + 1e-9 and point < n + 1 for n, point in zip(n_parts, line, strict=False))
    assert config.n_sequences(n_steps) == part_size * sum(n_parts[:n_steps])


@given(ramps, st.integers(1, 2000), st.integers(2, 8))
def test_a_budget_pays_for_as_many_steps_as_fit_into_it(
    ramp: tuple[int, int, int], tokens: int, context_length: int
) -> None:
    part_size, accumulate, ramp_steps = ramp
    config = train_config(
        batch_size=part_size * accumulate, accumulate=accumulate, ramp_steps=ramp_steps, tokens=tokens
    )
    n_steps, spent = 0, config.n_parts(0) * part_size * context_length
    while spent <= tokens:
        n_steps += 1
        spent += config.n_parts(n_steps) * part_size * context_length
    assert config.n_steps(context_length) == max(1, n_steps)


def test_a_budget_that_ends_in_a_long_ramp_is_counted_at_once() -> None:
    config = train_config(batch_size=8, accumulate=4, ramp_steps=20_000, tokens=10**5)
    started = time.process_time()
    assert 0 < config.n_steps(8) < 20_000
    assert time.process_time() - started < 5  # it was quadratic


def test_the_number_of_steps_follows_from_a_budget_of_tokens() -> None:
    assert train_config(steps=7).n_steps(8) == 7
    assert [train_config(tokens=n).n_steps(8) for n in (1, 32, 63, 64, 3200)] == [1, 1, 1, 2, 100]
    assert [train_config(warmup_steps=w).n_warmup_steps(100) for w in (None, 0, 3)] == [5, 0, 3]


def test_a_file_of_an_earlier_version_gets_one_line_that_says_what_has_moved() -> None:
    message = (
        "these parameters are of an earlier version, and have moved: "
        "train.log_every to observe.log_every, train.tensorboard to observe.tensorboard"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_config(log_every=10, tensorboard=False)


def test_the_errors_of_a_section_carry_its_own_name() -> None:
    class FinetuneConfig(TrainConfig):
        """A second section with the fields of the first."""

    for changes, message in (
        ({"steps": 0}, "finetune.steps: must be greater than or equal to 1, got 0"),
        ({"accumulate": 3}, "finetune.accumulate: must divide batch_size=4 into equal parts, got 3"),
        ({"backend": "numpy", "shard": True}, "finetune.shard: must be false with backend 'numpy', got True"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            FinetuneConfig.parse(TRAIN | changes)
    config = FinetuneConfig.parse(TRAIN | {"compile": True})
    assert str(config.wrong("device", "must be near, got 'far'")) == "finetune.device: must be near, got 'far'"


@pytest.mark.parametrize("text", ["1e6", "1.0e+6", "1000000", "1000000.0"])
def test_every_way_to_write_a_whole_number_is_an_integer(text: str) -> None:
    value = YAML(typ="safe", pure=True).load(text)
    data = DataConfig.parse(PARAMETERS["data"] | {"n_stories": value, "max_bytes": value})
    counts = [train_config(tokens=value).tokens, train_config(steps=value).steps, data.n_stories, data.max_bytes]
    assert counts == [1_000_000] * 4
    assert {type(count) for count in counts} == {int}
    assert parse_seed(value) == 1_000_000
    assert error_of(TrainConfig, TRAIN | {"shard": 1.0}) == "train.shard: must be true or false, got 1.0"


def test_a_value_of_an_earlier_version_gets_one_line_that_says_what_it_is_called_now() -> None:
    assert error_of(TrainConfig, TRAIN | {"attention": "stored"}) == (
        "train.attention: must be 'math', as 'stored' of an earlier version is called now, got 'stored'"
    )


def mistakes_in(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        check_parameters(values)
    return str(caught.value).split("\n")


def with_changes(**changes: Any) -> dict[str, Any]:
    """The content of params.yaml with some parameters changed: `train={"steps": 5}`."""
    return PARAMETERS | {name: PARAMETERS[name] | change for name, change in changes.items()}


def test_the_parameters_of_this_version_have_no_mistake() -> None:
    check_parameters(PARAMETERS)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_typing_mistake_in_a_section_is_one_line_with_the_right_name(name: str) -> None:
    for key in PARAMETERS[name]:
        wrong = key[:2] + "x" + key[2:]
        values = {wrong if k == key else k: value for k, value in PARAMETERS[name].items()}
        expected = f"{name}.{wrong}: unknown parameter, did you mean {name}.{key}?"
        assert mistakes_in(PARAMETERS | {name: values}) == [expected]


def test_a_parameter_written_as_a_section_and_a_number_as_a_name_are_told() -> None:
    assert mistakes_in(PARAMETERS | {"data.train": []}) == ["data.train: must be written inside its section"]
    assert mistakes_in(PARAMETERS | {"model": PARAMETERS["model"] | {3: 4}}) == ["model.3: must be a name"]


@pytest.mark.parametrize("name", ["seed", *SECTIONS])
def test_a_typing_mistake_in_the_name_of_a_section_is_one_line_with_the_right_name(name: str) -> None:
    wrong = name[:-2] + name[:-3:-1]
    values = {wrong if key == name else key: value for key, value in PARAMETERS.items()}
    assert mistakes_in(values) == [f"{wrong}: unknown section, did you mean {name}?"]
    assert mistakes_in({key: value for key, value in PARAMETERS.items() if key != name}) == [f"{name}: missing"]


def test_a_parameter_in_the_wrong_section_is_told_its_place() -> None:
    assert mistakes_in(with_changes(train={"dropout": 0.1}, model={"steps": 3})) == [
        "model.steps: unknown parameter, did you mean train.steps?",
        "train.dropout: unknown parameter, did you mean model.dropout?",
    ]


def test_what_crosses_sections_is_checked() -> None:
    assert mistakes_in(with_changes(train={"warmup_steps": 1201})) == [
        "train.warmup_steps: must be at most the run's 1200 steps, got 1201"
    ]
    budget = {"tokens": 1e6, "batch_size": 10, "warmup_steps": 1000}
    assert mistakes_in(with_changes(train=budget, model={"context_length": 200})) == [
        "train.warmup_steps: must be at most the run's 500 steps, got 1000"
    ]
    check_parameters(with_changes(train=budget, model={"context_length": 100}))
    assert mistakes_in(with_changes(train={"attention": "math"}, model={"dropout": 0.1})) == [
        "train.attention: 'math' has no dropout, got model.dropout=0.1"
    ]
    assert mistakes_in(with_changes(train={"processes": 4})) == [
        "train.batch_size: each of its 1 parts must divide among 4 processes, got 6 sequences a part"
    ]


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            {"finetune": {"epochs": 2, "batch_size": 10, "warmup_steps": 501}, "dialogues": {"n_dialogues": 2500}},
            "finetune.warmup_steps: must be at most the run's 500 steps, got 501",
        ),
        (
            {"train": {"processes": 3}, "finetune": {"batch_size": 4}},
            "finetune.batch_size: each of its 1 parts must divide among 3 processes, got 4 sequences a part",
        ),
        (
            {"train": {"attention": "flex", "rows": "windows"}},
            "finetune.attend: must be 'row' with train.attention 'flex', got 'dialogue'",
        ),
        ({"chat": {"weights": "int8", "device": "cuda"}}, "chat.weights: 'int8' runs on a CPU only, got device='cuda'"),
        (
            {"sample": {"weights": "int4", "device": "mps"}},
            "sample.weights: 'int4' runs on a CPU only, got device='mps'",
        ),
        (
            {"evaluate": {"weights": "int4"}, "model": {"d_ff": 100}},
            "evaluate.weights: 'int4' needs a multiple of 32 as model.d_ff, got 100",
        ),
        (
            {"export": {"gguf": "q8_0"}, "model": {"d_model": 80, "d_ff": 96}},
            "export.gguf: 'q8_0' needs a multiple of 32 as model.d_model, got 80",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_told_at_the_start(changes: dict[str, Any], mistake: str) -> None:
    assert mistakes_in(with_changes(**changes)) == [mistake]


def test_a_budget_of_dialogues_that_nobody_knows_refuses_nothing() -> None:
    check_parameters(
        with_changes(finetune={"warmup_steps": 10**9}, dialogues={"source": "files", "train": ["a.jsonl"]})
    )
    check_parameters(with_changes(chat={"weights": "int8", "device": "auto"}, export={"gguf": "q8_0"}))


def test_mistakes_of_all_sections_are_named_at_once() -> None:
    values = with_changes(model={"d_model": 130}, sample={"top_k": 0}, train={"device": "gpu"}) | {"seed": -1}
    assert mistakes_in(values) == [
        "model.d_model: must be a multiple of n_heads=4, got 130",
        "sample.top_k: must be greater than or equal to 1, got 0",
        "train.device: must be 'auto', 'cpu', 'cuda' or 'mps', got 'gpu'",
        "seed: must be an integer from 0 to 2**32 - 1, got -1",
    ]


def test_every_class_of_a_section_is_listed() -> None:
    modules = [importlib.import_module(f"lm.config.{found.name}") for found in pkgutil.iter_modules(lm.config.__path__)]
    classes = {
        section
        for module in modules
        for _, section in inspect.getmembers(module, inspect.isclass)
        if issubclass(section, Section) and section is not Section and section.__module__ == module.__name__
    }
    # What a section is called ends in Config; others share fields with one, or are made of one.
    assert {section for section in classes if section.__name__.endswith("Config")} == set(SECTIONS.values())
