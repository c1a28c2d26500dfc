"""Named experiments: overrides of params.yaml, gathered in sets; which of them a name means, and with what else."""

import difflib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.config.model import ModelConfig
from lm.config.sections import all_sections
from lm.formats.parameters import n_parameters

SECTIONS = all_sections()
PARAMETERS = ["seed", *(f"{name}.{field}" for name, section in SECTIONS.items() for field in section.model_fields)]

Overrides = dict[str, Any]  # {"model.norm": "none", "seed": 2}


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: an experiment of DVC."""

    name: str  # of DVC's experiment
    experiment: str  # its name in the set; the same for all its seeds
    seed: int | None  # None: that of params.yaml
    asks: str
    overrides: Overrides

    def changes(self, base: Mapping[str, Any]) -> Overrides:
        """The overrides that say anything else than params.yaml."""
        defaults = flatten(base)
        return {key: value for key, value in self.overrides.items() if key not in defaults or value != defaults[key]}

    def parameters(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The content of params.yaml in this run, checked.

        Raises:
            ValueError: one line a mistake, which names the run.
        """
        values = _applied(base, self.overrides)
        seed = values["seed"]
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise ValueError(f"{self.name}: seed: must be an integer from 0 to 2**32 - 1, got {seed!r}")
        for name, section in SECTIONS.items():
            try:
                section.parse(values[name])
            except ValueError as error:
                raise ValueError("\n".join(f"{self.name}: {line}" for line in str(error).splitlines())) from None
        return values


@dataclass(frozen=True)
class ExperimentSet:
    """Runs that answer one question. A preset is a set of one run."""

    name: str
    asks: str
    hardware: str | None  # of a preset: what it is meant for
    runs: tuple[Run, ...]
    baseline: str | None  # the experiment that the others are compared to
    against: str | None  # parameter or metric on the x axis of the final loss
    by: str | None  # parameter that tells the lines of that plot apart

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments in their order, each once."""
        return list(dict.fromkeys(run.experiment for run in self.runs))


def select(sets: Mapping[str, ExperimentSet], name: str) -> ExperimentSet:
    """The set of that name, or the part of a set that a run or an experiment with its set's name names.

    Raises:
        ValueError: when there is none; says which names are near.
    """
    if name in sets:
        return sets[name]
    for one in sets.values():
        runs = tuple(run for run in one.runs if name in (run.name, f"{one.name}-{run.experiment}"))
        if runs:
            return replace(one, runs=runs)
    known = [*sets, *(run.name for one in sets.values() for run in one.runs)]
    known += [f"{one.name}-{run.experiment}" for one in sets.values() for run in one.runs]
    raise ValueError(f"{name}: no such experiment{did_you_mean(name, known)}; `python -m experiments list` shows all")


def parse_override(text: str) -> Overrides:
    """An override as `dvc exp run -S` takes it, `model.norm=none`; the value is YAML 1.2, where 1e-4 is a number.

    Raises:
        ValueError: when it has no such form, or names no parameter.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text}: must have the form section.parameter=value")
    try:
        parsed = YAML(typ="safe").load(value)
    except YAMLError:
        raise ValueError(f"{key}: must be a value of YAML, got {value!r}") from None
    check_known(key, PARAMETERS, f"{key}: no such parameter")
    return {key: parsed}


def with_overrides(one: ExperimentSet, overrides: Overrides, seeds: list[int] | None) -> ExperimentSet:
    """The same set with further overrides in every run and, where `seeds` are given, these instead of its own.

    Raises:
        ValueError: for an override of the seed in a set that runs with several.
    """
    if "seed" in overrides and (seeds is not None or any(run.seed is not None for run in one.runs)):
        raise ValueError(f"seed: must be given as --seeds {overrides['seed']} for {one.name}, which runs once a seed")
    runs = [replace(run, overrides=run.overrides | overrides) for run in one.runs]
    if seeds is not None:
        first = {run.experiment: run for run in reversed(runs)}
        stems = {name: run.name.removesuffix(f"-s{run.seed}") for name, run in first.items()}
        runs = [
            Run(f"{stems[name]}-s{seed}", name, seed, run.asks, run.overrides | {"seed": seed})
            for name, run in reversed(first.items())
            for seed in seeds
        ]
    return replace(one, runs=tuple(runs))


def model_size(parameters: Mapping[str, Any]) -> int | None:
    """How many parameters the model of a run has; None where only the tokenizer knows the size of its vocabulary."""
    if parameters["tokenizer"]["kind"] != "bpe":
        return None
    return n_parameters(ModelConfig.parse(parameters["model"]), parameters["tokenizer"]["vocab_size"])


def flatten(values: Mapping[str, Any]) -> Overrides:
    """Parameters by their dotted names, as overrides name them."""
    flat: Overrides = {}
    for key, value in values.items():
        flat |= {f"{key}.{name}": leaf for name, leaf in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def check_known(key: str, known: list[str], mistake: str) -> None:
    """Raise ValueError, with the nearest name there is, for a name that is not known."""
    if key not in known:
        raise ValueError(f"{mistake}{did_you_mean(str(key), known)}")


def _applied(base: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    values = deepcopy(dict(base))
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    return values


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of an error: the nearest name there is, if any is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""
