"""Parameters that somebody has set although they have no effect beside the other parameters."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lm.config.base import Section
from lm.config.chat import ChatConfig
from lm.config.data import DataConfig
from lm.config.dialogues import DialoguesConfig
from lm.config.finetune import FinetuneConfig
from lm.config.model import ModelConfig
from lm.config.sample import SampleConfig
from lm.config.tokenizer import TokenizerConfig
from lm.config.train import TrainConfig

# The values that params.yaml comes with. A parameter that has another value has been set.
UNSET: Mapping[str, Mapping[str, Any]] = {
    "data": {
        "n_stories": 24000,
        "n_valid_stories": 1000,
        "train": [],
        "valid": [],
        "text_column": "text",
        "null_rows": "fail",
        "separator": "<|endoftext|>",
        "dataset": "tinystories",
        "revision": None,
        "configuration": None,
        "train_split": "train",
        "valid_split": None,
        "valid_fraction": 0.01,
        "max_documents": None,
        "max_bytes": None,
    },
    "dialogues": {
        "n_dialogues": 7000,
        "n_valid_dialogues": 200,
        "max_characters": 1150,
        "train": [],
        "valid": [],
        "dataset": "everyday-conversations",
        "revision": None,
        "configuration": None,
        "train_split": "train",
        "valid_split": None,
        "valid_fraction": 0.1,
        "max_dialogues": None,
        "broken_rows": "fail",
    },
    "tokenizer": {"trainer": "storyline", "vocab_size": 2048, "min_frequency": 1, "ties": "huggingface"},
    "model": {"norm_position": "pre", "norm_eps": 1e-05, "rope_theta": 10000.0, "window": None},
    "train": {
        "shard": False,
        "steps": 1200,
        "muon_parts": True,
        "betas": [0.9, 0.98],
        "eps": 1e-08,
        "momentum": 0.85,
        "nesterov": False,
        "decay_fraction": 0.2,
        "final_learning_rate": 0.0,
    },
    "sample": {
        "temperature": 0.8,
        "top_k": None,
        "top_p": 0.95,
        "min_p": None,
        "typical_p": None,
        "length_penalty": 1.0,
        "early_stopping": False,
    },
    "finetune": {"attend": "dialogue"},
    "chat": {"top_p": None},
}

# Of the short names of `data.dataset`: those whose files hold rows, and those without validation text of their own.
_WITH_ROWS = {"tinystories-v1", "tinystories-clean", "owt"}
_WITHOUT_VALIDATION = {"owt"}


def idle_parameters(*sections: Section) -> Iterator[str]:
    """A line for each reason why parameters that have been set do nothing: `places: no effect with reason`."""
    trainings = [section for section in sections if isinstance(section, TrainConfig | FinetuneConfig)]
    schedules: set[str] = {training.schedule for training in trainings}
    for section in sections:
        for reason, names in _idle(section, schedules):
            unset = UNSET[section.name()]
            places = [f"{section.name()}.{name}" for name in names if getattr(section, name) != unset[name]]
            if places:
                yield f"{', '.join(places)}: no effect with {section.name()}.{reason}"


def _idle(section: Section, schedules: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Reasons, and the parameters that have no effect because of each; `schedules` are those of both trainings."""
    match section:
        case DataConfig():
            yield from _idle_data(section)
        case DialoguesConfig():
            yield from _idle_dialogues(section)
        case TokenizerConfig(kind=kind):
            if kind != "bpe":
                yield f"kind={kind}", ("trainer", "ties")
            if kind not in ("bpe", "char"):
                yield f"kind={kind}", ("vocab_size", "min_frequency")
        case ModelConfig():
            if section.positions != "rope":
                yield f"positions={section.positions}", ("rope_theta",)
            if section.norm == "none":
                yield "norm=none", ("norm_position",) if section.qk_norm else ("norm_position", "norm_eps")
            if section.window is not None and section.window >= section.context_length:
                yield f"context_length={section.context_length}", ("window",)
        case TrainConfig():
            yield from _idle_train(section, schedules)
        case SampleConfig():
            yield from _idle_sample(section)
        case FinetuneConfig(pack=False):
            yield "pack=false", ("attend",)
        case ChatConfig(temperature=0):
            yield "temperature=0", ("top_p",)


def _idle_data(data: DataConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    source = f"source={data.source}"
    if data.source != "stories":
        yield source, ("n_stories", "n_valid_stories")
    if data.source != "files":
        yield source, ("train", "valid")
    if data.source != "hub":
        yield source, ("dataset", "revision", "configuration", "train_split", "valid_split")
    match data.source:
        case "stories":
            limits = ("valid_fraction", "max_documents", "max_bytes")
            yield source, ("text_column", "null_rows", "separator", *limits)
        case "files":
            files = [*data.train, *data.valid]
            if all(re.search(r"\.txt(\.\w+)?$", name.lower()) for name in files):
                yield "train of .txt alone", ("text_column", "null_rows")
            if all(re.search(r"\.(json|jsonl|ndjson|parquet)(\.\w+)?$", name.lower()) for name in files):
                yield "train without .txt", ("separator",)
            if data.valid:
                yield "valid", ("valid_fraction",)
        case "hub":
            if data.valid_split is not None:
                yield "valid_split", ("valid_fraction",)
            if "/" not in data.dataset:  # a short name stands for files of a known form
                rows = () if data.dataset in _WITH_ROWS else ("null_rows",)
                fraction = () if data.dataset in _WITHOUT_VALIDATION else ("valid_fraction",)
                yield f"dataset={data.dataset}", ("text_column", "separator", *rows, *fraction)


def _idle_dialogues(dialogues: DialoguesConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    source = f"source={dialogues.source}"
    if dialogues.source != "stories":
        yield source, ("n_dialogues", "n_valid_dialogues", "max_characters")
    if dialogues.source != "files":
        yield source, ("train", "valid")
    if dialogues.source != "hub":
        yield source, ("dataset", "revision", "configuration", "train_split", "valid_split")
    match dialogues.source:
        case "stories":
            yield source, ("valid_fraction", "max_dialogues", "broken_rows")
        case "files":
            if dialogues.valid:
                yield "valid", ("valid_fraction",)
        case "hub":
            if dialogues.valid_split is not None:
                yield "valid_split", ("valid_fraction",)
            elif "/" not in dialogues.dataset:  # a short name stands for a dataset with validation text
                yield f"dataset={dialogues.dataset}", ("valid_fraction",)


def _idle_sample(sample: SampleConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    filters = ("top_k", "top_p", "min_p", "typical_p")
    if sample.beams > 1:
        yield f"beams={sample.beams}", ("temperature", *filters)
    else:
        yield "beams=1", ("length_penalty", "early_stopping")
        if sample.penalty_alpha is not None:
            yield f"penalty_alpha={sample.penalty_alpha}", ("temperature", *filters[1:])
        elif sample.temperature == 0:
            yield "temperature=0", filters


def _idle_train(train: TrainConfig, schedules: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    optimizer, schedule = f"optimizer={train.optimizer}", f"schedule={train.schedule}"
    if train.tokens is not None:
        yield f"tokens={train.tokens}", ("steps",)
    if train.processes == 1:
        yield "processes=1", ("shard",)
    if train.optimizer == "sgd":
        yield optimizer, ("betas", "eps")
    else:
        yield optimizer, ("nesterov",)
    if train.optimizer not in ("muon", "sgd"):
        yield optimizer, ("momentum",)
    if train.optimizer != "muon":
        yield optimizer, ("muon_parts",)
    if "wsd" not in schedules:
        yield schedule, ("decay_fraction",)
    if schedules == {"constant"}:
        yield schedule, ("final_learning_rate",)
