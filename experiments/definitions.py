"""What experiments.yaml says: named experiments as overrides of params.yaml, gathered in sets."""

import difflib
import itertools
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.config.base import Section
from lm.config.data import DataConfig
from lm.config.evaluate import EvaluateConfig
from lm.config.model import ModelConfig
from lm.config.sample import SampleConfig
from lm.config.tokenizer import TokenizerConfig
from lm.config.train import TrainConfig
from lm.parameters import n_parameters

SECTIONS: dict[str, type[Section]] = {
    section.name(): section
    for section in (DataConfig, TokenizerConfig, ModelConfig, TrainConfig, EvaluateConfig, SampleConfig)
}
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
        return {key: value for key, value in self.overrides.items() if value != defaults[key]}

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


def load_params(path: Path) -> dict[str, Any]:
    """The content of params.yaml.

    Raises:
        ValueError: for a mistake in it, one line each.
    """
    values = _load_yaml(path)
    for name, section in SECTIONS.items():
        section.load(path)
        assert name in values
    return values


def load_experiments(path: Path) -> dict[str, ExperimentSet]:
    """Every preset and set of an experiments.yaml by its name.

    Raises:
        ValueError: for a mistake in it: place, rule, value.
    """
    content = _load_yaml(path)
    _check_keys(content, {"presets", "sets"}, str(path))
    presets, sets = content.get("presets") or {}, content.get("sets") or {}
    for title, entries in (("presets", presets), ("sets", sets)):
        _check_names(entries, f"{path}: {title}")
    if not presets and not sets:
        raise ValueError(f"{path}: must have presets or sets, got neither")
    if twice := presets.keys() & sets.keys():
        raise ValueError(f"{path}: a preset and a set must not share a name, got {sorted(twice)[0]!r}")
    found = {name: _preset(name, entry, f"{path}: presets.{name}") for name, entry in presets.items()}
    found |= {name: _set(name, entry, found, f"{path}: sets.{name}") for name, entry in sets.items()}
    names = [run.name for one in found.values() for run in one.runs]
    if len(names) > len(set(names)):
        raise ValueError(f"{path}: runs must differ in name, got {max(names, key=names.count)!r} twice")
    return found


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
    raise ValueError(f"{name}: no such experiment{_did_you_mean(name, known)}; `python -m experiments list` shows all")


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
    _check_known(key, PARAMETERS, f"{key}: no such parameter")
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


def _preset(name: str, entry: Any, place: str) -> ExperimentSet:
    _check_keys(entry, {"asks", "hardware", "seed", *SECTIONS}, place)
    asks, hardware = _text(entry, "asks", place), _text(entry, "hardware", place)
    run = Run(name, name, None, asks, _overrides(entry, place))
    return ExperimentSet(name, asks, hardware, (run,), None, None, None)


def _set(name: str, entry: Any, presets: Mapping[str, ExperimentSet], place: str) -> ExperimentSet:
    own = {"asks", "base", "seeds", "baseline", "experiments", "sweep", "against", "by"}
    _check_keys(entry, own | SECTIONS.keys(), place)
    shared: Overrides = {}
    if base := entry.get("base"):
        if not isinstance(base, str) or base not in presets:
            raise ValueError(f"{place}.base: must be a preset{_did_you_mean(str(base), list(presets))}, got {base!r}")
        shared = presets[base].runs[0].overrides
    shared = shared | _overrides(entry, place)
    if ("experiments" in entry) == ("sweep" in entry):
        raise ValueError(f"{place}: must have either experiments or sweep")
    asks = _text(entry, "asks", place)
    if "sweep" in entry:
        members = _sweep(entry["sweep"], asks, f"{place}.sweep")
    else:
        members = _members(entry["experiments"], f"{place}.experiments")
    seeds = entry.get("seeds") or [None]
    if not isinstance(seeds, list) or any(seed is not None and type(seed) is not int for seed in seeds):
        raise ValueError(f"{place}.seeds: must be a list of integers, got {seeds!r}")
    runs = tuple(
        Run(
            f"{name}-{member}" + ("" if seed is None else f"-s{seed}"),
            member,
            seed,
            member_asks,
            shared | overrides | ({} if seed is None else {"seed": seed}),
        )
        for member, (member_asks, overrides) in members.items()
        for seed in seeds
    )
    baseline = _value_name(entry.get("baseline", next(iter(members))))
    if baseline not in members:
        raise ValueError(f"{place}.baseline: must be one of {', '.join(members)}, got {baseline!r}")
    for key in ("against", "by"):
        if key in entry:
            _check_known(entry[key], [*PARAMETERS, "n_parameters"], f"{place}.{key}: no such parameter or metric")
    for _, overrides in members.values():
        value = overrides.get(entry.get("against"), 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{place}.against: must be a parameter that is a number, got {value!r} among its values")
    return ExperimentSet(name, asks, None, runs, baseline, entry.get("against"), entry.get("by"))


def _members(entries: Any, place: str) -> dict[str, tuple[str, Overrides]]:
    """Question and overrides of each experiment of a set."""
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{place}: must be a mapping of names to experiments, got {entries!r}")
    _check_names(entries, place)
    members = {}
    for name, entry in entries.items():
        _check_keys(entry, {"asks", *SECTIONS}, f"{place}.{name}")
        members[name] = (_text(entry, "asks", f"{place}.{name}"), _overrides(entry, f"{place}.{name}"))
    return members


def _sweep(sweep: Any, asks: str, place: str) -> dict[str, tuple[str, Overrides]]:
    """An experiment for every combination of the values; its name is its values."""
    _check_keys(sweep, set(SECTIONS), place)
    values = _overrides(sweep, place)
    for key, listed in values.items():
        if not isinstance(listed, list) or not listed:
            raise ValueError(f"{place}.{key}: must be a list of values, got {listed!r}")
    if not values:
        raise ValueError(f"{place}: must name the parameters to sweep, got {sweep!r}")
    members: dict[str, tuple[str, Overrides]] = {}
    for combination in itertools.product(*values.values()):
        name = "-".join(map(_value_name, combination))
        if name in members:
            raise ValueError(f"{place}: values must differ in name, got {name!r} twice")
        members[name] = (asks, dict(zip(values, combination, strict=True)))
    _check_names(members, place)
    return members


def _value_name(value: Any) -> str:
    """A value as a part of a name: `0.001` for 1e-3, `null` for None."""
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def _overrides(entry: Mapping[str, Any], place: str) -> Overrides:
    """What the sections in an entry change."""
    for key in entry.keys() & SECTIONS.keys():
        if not isinstance(entry[key], dict):
            raise ValueError(f"{place}.{key}: must be a mapping of parameters, got {entry[key]!r}")
    flat = flatten({key: value for key, value in entry.items() if key in SECTIONS or key == "seed"})
    for key in flat:
        _check_known(key, PARAMETERS, f"{place}: {key}: no such parameter")
    return flat


def _check_known(key: str, known: list[str], mistake: str) -> None:
    if key not in known:
        raise ValueError(f"{mistake}{_did_you_mean(str(key), known)}")


def _applied(base: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    values = deepcopy(dict(base))
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    return values


def _check_names(entries: Any, place: str) -> None:
    """Names become those of DVC's experiments, which are references of git."""
    if not isinstance(entries, dict):
        raise ValueError(f"{place}: must be a mapping, got {entries!r}")
    for name in entries:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(".") or ".." in name:
            raise ValueError(f"{place}: names must be text of letters, digits, '-', '_', '+' and '.', got {name!r}")


def _check_keys(entry: Any, allowed: set[str], place: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{place}: must be a mapping, got {entry!r}")
    for key in entry:
        if key not in allowed:
            raise ValueError(f"{place}.{key}: must be one of {', '.join(sorted(allowed))}")


def _text(entry: Mapping[str, Any], key: str, place: str) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{place}.{key}: must be a sentence, got {text!r}")
    return text.strip()


def _did_you_mean(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run this at the root of the repository") from None
    except YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be a mapping, got {content!r}")
    return content
