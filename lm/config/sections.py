"""All sections of params.yaml, and what must hold between them."""

from collections.abc import Mapping
from typing import Any

from lm.config.analyze import AnalyzeConfig
from lm.config.base import Section, nearest, parse_seed, unknown
from lm.config.chat import ChatConfig
from lm.config.data import DataConfig
from lm.config.dialogues import DialoguesConfig
from lm.config.evaluate import EvaluateConfig
from lm.config.export import ExportConfig
from lm.config.finetune import FinetuneConfig
from lm.config.model import ModelConfig
from lm.config.observe import ObserveConfig
from lm.config.sample import SampleConfig
from lm.config.tokenizer import TokenizerConfig
from lm.config.train import TrainConfig
from lm.config.weights import check_weights, check_widths

# The class of each section by its key in params.yaml.
SECTIONS: dict[str, type[Section]] = {
    section.name(): section
    for section in (
        AnalyzeConfig,
        ChatConfig,
        DataConfig,
        DialoguesConfig,
        EvaluateConfig,
        ExportConfig,
        FinetuneConfig,
        ModelConfig,
        ObserveConfig,
        SampleConfig,
        TokenizerConfig,
        TrainConfig,
    )
}


def check_parameters(values: Mapping[str, Any]) -> None:
    """Check the content of a params.yaml: every section, and what must hold between sections.

    Raises:
        ValueError: with one line for each mistake: `place: rule, got value`.
    """
    for name, section in SECTIONS.items():  # first, because what has moved is missing elsewhere
        section.check_moved(values.get(name))
    keys = ["seed", *SECTIONS]
    mistakes = [unknown(str(key), "section", keys) for key in values if key not in keys and "." not in str(key)]
    mistakes += [f"{key}: must be written inside its section" for key in values if "." in str(key)]
    meant = {nearest(str(key), keys) for key in values if key not in keys}
    mistakes += [f"{key}: missing" for key in keys if key not in values and key not in meant]
    for name, section in SECTIONS.items():
        misplaced = _misplaced(section, values.get(name))
        mistakes += [f"{name}.{key}: unknown parameter, did you mean {home}?" for key, home in misplaced.items()]
        try:
            if name in values:
                section.parse(
                    {k: v for k, v in values[name].items() if k not in misplaced} if misplaced else values[name]
                )
        except ValueError as error:
            mistakes += str(error).splitlines()
    try:
        parse_seed(values.get("seed", 0))
        if not mistakes:
            model, train = ModelConfig.parse(values["model"]), TrainConfig.parse(values["train"])
            _check_training(model, train)
            _check_finetuning(
                FinetuneConfig.parse(values["finetune"]), train, DialoguesConfig.parse(values["dialogues"])
            )
            for reading in (EvaluateConfig, SampleConfig, ChatConfig):
                read = reading.parse(values[reading.name()])
                check_weights(read, read.device, read.weights, model)
            export = ExportConfig.parse(values["export"])
            if export.gguf == "q8_0":
                check_widths(export, "gguf", export.gguf, model)
    except ValueError as error:
        mistakes.append(str(error))
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _misplaced(section: type[Section], values: Any) -> dict[str, str]:
    """The parameters among the values that only another section has, each with its place there."""
    fields = {field: f"{name}.{field}" for name, other in SECTIONS.items() for field in other.model_fields}
    keys = values if isinstance(values, dict) else {}
    return {key: fields[key] for key in keys if key in fields and key not in section.model_fields}


def _check_training(model: ModelConfig, train: TrainConfig) -> None:
    train.n_warmup_steps(train.n_steps(model.context_length))
    train.check_attention(model.dropout)
    if train.processes != "auto":
        train.check_shares(train.processes)


def _check_finetuning(finetune: FinetuneConfig, train: TrainConfig, dialogues: DialoguesConfig) -> None:
    """Raise ValueError for what must fail, however many dialogues fit into a row."""
    if train.attention == "flex" and finetune.attend == "dialogue":
        raise finetune.wrong("attend", "must be 'row' with train.attention 'flex', got 'dialogue'")
    most = dialogues.n_dialogues if dialogues.source == "stories" else dialogues.max_dialogues
    training = finetune.training(train, n_rows=most or 1)
    if most is not None:
        training.n_warmup_steps(training.steps)
    if train.processes != "auto":
        training.check_shares(train.processes)
