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
            train = TrainConfig.parse(values["train"])
            _check_between(ModelConfig.parse(values["model"]), train)
            FinetuneConfig.parse(values["finetune"]).training(train, n_rows=1)
    except ValueError as error:
        mistakes.append(str(error))
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _misplaced(section: type[Section], values: Any) -> dict[str, str]:
    """The parameters among the values that only another section has, each with its place there."""
    fields = {field: f"{name}.{field}" for name, other in SECTIONS.items() for field in other.model_fields}
    keys = values if isinstance(values, dict) else {}
    return {key: fields[key] for key in keys if key in fields and key not in section.model_fields}


def _check_between(model: ModelConfig, train: TrainConfig) -> None:
    train.n_warmup_steps(train.n_steps(model.context_length))
    train.check_attention(model.dropout)
    if train.processes != "auto":
        train.check_shares(train.processes)
