"""The parameters of params.yaml: their names, their values, and overrides of them."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.config.base import nearest, parse_yaml
from lm.config.model import ModelConfig
from lm.config.observe import ObserveConfig
from lm.config.sections import SECTIONS, check_parameters
from lm.formats.parameters import n_parameters

PARAMETERS = ["seed", *(f"{name}.{field}" for name, section in SECTIONS.items() for field in section.model_fields)]
MOVED = {f"{name}.{old}": new for name, section in SECTIONS.items() for old, new in section.moved.items()}

Overrides = dict[str, Any]  # {"model.norm": "none", "seed": 2}


def load_params(path: Path) -> dict[str, Any]:
    """The content of params.yaml.

    Raises:
        ValueError: for a mistake in the file; one line for each mistake.
    """
    values = load_mapping(path)
    check_parameters(values)
    return values


def load_mapping(path: Path) -> dict[str, Any]:
    """The content of a YAML file that holds a mapping.

    Raises:
        ValueError: when there is no such file, or it is not YAML, or it holds no mapping.
    """
    try:
        return parse_mapping(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run this at the root of the repository") from None


def parse_mapping(text: str, place: str) -> dict[str, Any]:
    """The mapping in a text of YAML.

    Raises:
        ValueError: when the text is not YAML, or holds no mapping; the message names the place.
    """
    content = parse_yaml(text, place)
    if not isinstance(content, dict):
        raise ValueError(f"{place}: must be a mapping, got {content!r}")
    return content


def parse_override(text: str) -> Overrides:
    """An override as `dvc exp run -S` takes it, `model.norm=none`. The value is YAML 1.2, where 1e-4 is a number.

    Raises:
        ValueError: when the text has another form, or names no parameter.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text}: must have the form section.parameter=value")
    try:
        parsed = YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise ValueError(f"{key}: must be a value of YAML, got {value!r}") from None
    check_known(key, PARAMETERS, f"{key}: no such parameter")
    return {key: parsed}


def flatten(params: Mapping[str, Any]) -> Overrides:
    """The values of params.yaml by their dotted names, as overrides name them."""
    flat: Overrides = {}
    for key, value in params.items():
        flat |= {f"{key}.{name}": leaf for name, leaf in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def overridden(params: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """A copy of the values of params.yaml with the overrides in it."""
    values = deepcopy(dict(params))
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    return values


def model_size(params: Mapping[str, Any]) -> int | None:
    """How many parameters the model of a run has; None where only the tokenizer knows the size of its vocabulary."""
    if params["tokenizer"]["kind"] != "bpe":
        return None
    return n_parameters(ModelConfig.parse(params["model"]), params["tokenizer"]["vocab_size"])


def decides_results(key: str) -> bool:
    """Whether a parameter changes what a run computes; observers only change how it is shown."""
    return not key.startswith(f"{ObserveConfig.name()}.")


def check_known(name: str, known: list[str], mistake: str) -> None:
    """Raise ValueError for a name that is not known; the error proposes the nearest known name."""
    if name in MOVED:
        raise ValueError(f"{mistake}, it has moved to {MOVED[name]}")
    if name not in known:
        raise ValueError(f"{mistake}{did_you_mean(str(name), known)}")


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error message: the nearest known name, or nothing where no name is near."""
    near = nearest(name, known)
    return f", did you mean {near}?" if near else ""
