"""Tests of lm/config/idle.py."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from lm.config.data import DataConfig
from lm.config.idle import UNSET, idle_parameters
from lm.config.sections import SECTIONS
from lm.corpus.hub import KNOWN
from tests.project import ROOT

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


def test_unset_values_are_those_of_params_yaml() -> None:
    for section, values in UNSET.items():
        assert values == {name: PARAMS[section][name] for name in values}


@pytest.mark.parametrize(
    ("section", "values", "lines"),
    [
        ("data", {}, []),
        ("data", {"source": "files", "train": ["a.txt"]}, []),
        ("data", {"train": ["a.txt"]}, ["data.train: no effect with data.source=stories"]),
        (
            "data",
            {"max_bytes": 5, "valid_fraction": 0.1, "revision": "main"},
            [
                "data.revision: no effect with data.source=stories",
                "data.valid_fraction, data.max_bytes: no effect with data.source=stories",
            ],
        ),
        ("data", {"source": "hub", "n_stories": 5}, ["data.n_stories: no effect with data.source=hub"]),
        (
            "data",
            {"source": "hub", "dataset": "org/name", "valid_split": "test", "valid_fraction": 0.1},
            ["data.valid_fraction: no effect with data.valid_split"],
        ),
        ("data", {"source": "hub", "separator": "---"}, ["data.separator: no effect with data.dataset=tinystories"]),
        ("data", {"source": "hub", "dataset": "org/name", "separator": "---"}, []),
        (
            "data",
            {"source": "files", "train": ["a/*.txt"], "valid": ["v.txt.gz"], "text_column": "b", "valid_fraction": 0.1},
            [
                "data.text_column: no effect with data.train of .txt alone",
                "data.valid_fraction: no effect with data.valid",
            ],
        ),
        (
            "data",
            {"source": "files", "train": ["a.jsonl.gz", "b*.parquet"], "separator": "---", "text_column": "b"},
            ["data.separator: no effect with data.train without .txt"],
        ),
        ("data", {"source": "files", "train": ["a/*"], "separator": "---", "text_column": "b"}, []),
        ("dialogues", {}, []),
        (
            "dialogues",
            {"train": ["a.jsonl"], "revision": "main", "max_dialogues": 5},
            [
                "dialogues.train: no effect with dialogues.source=stories",
                "dialogues.revision: no effect with dialogues.source=stories",
                "dialogues.max_dialogues: no effect with dialogues.source=stories",
            ],
        ),
        (
            "dialogues",
            {"source": "files", "train": ["a.json"], "valid": ["b.json"], "n_dialogues": 5, "valid_fraction": 0.2},
            [
                "dialogues.n_dialogues: no effect with dialogues.source=files",
                "dialogues.valid_fraction: no effect with dialogues.valid",
            ],
        ),
        (
            "dialogues",
            {"source": "hub", "valid_fraction": 0.2, "broken_rows": "skip"},
            ["dialogues.valid_fraction: no effect with dialogues.dataset=everyday-conversations"],
        ),
        ("dialogues", {"source": "hub", "dataset": "org/name", "valid_fraction": 0.2}, []),
        (
            "dialogues",
            {"source": "hub", "dataset": "org/name", "valid_split": "test", "valid_fraction": 0.2},
            ["dialogues.valid_fraction: no effect with dialogues.valid_split"],
        ),
        ("tokenizer", {"kind": "char", "vocab_size": 99, "min_frequency": 2}, []),
        (
            "tokenizer",
            {"kind": "char", "ties": "lexicographic"},
            ["tokenizer.ties: no effect with tokenizer.kind=char"],
        ),
        ("tokenizer", {"kind": "byte", "vocab_size": 99}, ["tokenizer.vocab_size: no effect with tokenizer.kind=byte"]),
        (
            "model",
            {"positions": "alibi", "rope_theta": 5.0},
            ["model.rope_theta: no effect with model.positions=alibi"],
        ),
        ("model", {"norm": "none", "norm_position": "post"}, ["model.norm_position: no effect with model.norm=none"]),
        ("model", {"norm": "none", "norm_eps": 1e-3}, []),
        (
            "model",
            {"norm": "none", "qk_norm": False, "norm_eps": 1e-3},
            ["model.norm_eps: no effect with model.norm=none"],
        ),
        ("model", {"window": 384}, ["model.window: no effect with model.context_length=384"]),
        ("model", {"window": 319}, []),
        ("train", {"tokens": 10_000, "steps": 7}, ["train.steps: no effect with train.tokens=10000"]),
        ("train", {"shard": True}, ["train.shard: no effect with train.processes=1"]),
        ("train", {"shard": True, "processes": 2}, []),
        ("train", {"optimizer": "sgd", "nesterov": True, "momentum": 0.8}, []),
        ("train", {"optimizer": "sgd", "eps": 1e-6}, ["train.eps: no effect with train.optimizer=sgd"]),
        (
            "train",
            {"optimizer": "adam", "muon_parts": False},
            ["train.muon_parts: no effect with train.optimizer=adam"],
        ),
        ("train", {"optimizer": "muon", "nesterov": True}, ["train.nesterov: no effect with train.optimizer=muon"]),
        ("train", {"optimizer": "adamw", "momentum": 0.8}, ["train.momentum: no effect with train.optimizer=adamw"]),
        (
            "train",
            {"schedule": "constant", "decay_fraction": 0.3, "final_learning_rate": 0.1},
            [
                "train.decay_fraction: no effect with train.schedule=constant",
                "train.final_learning_rate: no effect with train.schedule=constant",
            ],
        ),
        ("train", {"schedule": "wsd", "decay_fraction": 0.3, "final_learning_rate": 0.1}, []),
        ("sample", {"temperature": 0.0, "top_k": 5}, ["sample.top_k: no effect with sample.temperature=0"]),
        (
            "sample",
            {"beams": 3, "temperature": 0.5, "min_p": 0.1},
            ["sample.temperature, sample.min_p: no effect with sample.beams=3"],
        ),
        (
            "sample",
            {"penalty_alpha": 0.6, "top_k": 4, "temperature": 0.0, "min_p": 0.1},
            ["sample.temperature, sample.min_p: no effect with sample.penalty_alpha=0.6"],
        ),
        ("sample", {"length_penalty": 2.0}, ["sample.length_penalty: no effect with sample.beams=1"]),
        ("finetune", {"attend": "row"}, []),
        ("finetune", {"attend": "row", "pack": False}, ["finetune.attend: no effect with finetune.pack=false"]),
        ("chat", {"top_p": 0.9}, ["chat.top_p: no effect with chat.temperature=0"]),
        ("chat", {"top_p": 0.9, "temperature": 0.5}, []),
    ],
)
def test_what_is_set_and_does_nothing_is_named(section: str, values: dict[str, Any], lines: list[str]) -> None:
    config = SECTIONS[section].parse(PARAMS[section] | values)
    assert list(idle_parameters(config)) == lines


def test_a_parameter_of_training_that_only_fine_tuning_uses_is_not_idle() -> None:
    train = SECTIONS["train"].parse(PARAMS["train"] | {"decay_fraction": 0.3})
    wsd = SECTIONS["finetune"].parse(PARAMS["finetune"] | {"schedule": "wsd"})
    linear = SECTIONS["finetune"].parse(PARAMS["finetune"])
    assert list(idle_parameters(train, linear)) == ["train.decay_fraction: no effect with train.schedule=linear"]
    assert list(idle_parameters(train, wsd)) == []


def test_of_a_dataset_with_a_short_name_its_files_say_what_does_nothing() -> None:
    chosen = {"source": "hub", "text_column": "b", "separator": "-", "null_rows": "skip", "valid_fraction": 0.1}
    for name, known in KNOWN.items():
        config = DataConfig.parse(PARAMS["data"] | chosen | {"dataset": name})
        idle = ["text_column", "separator"]
        idle += ["null_rows"] if ".txt" in known.train.split else []
        idle += ["valid_fraction"] if known.valid else []
        names = ", ".join(f"data.{each}" for each in idle)
        assert list(idle_parameters(config)) == [f"{names}: no effect with data.dataset={name}"]
