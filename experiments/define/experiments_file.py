"""Reading experiments.yaml. An error names the place of the mistake, the rule and the value."""

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.define.experiment_set import Experiments, ExperimentSet, Run
from experiments.define.metrics import DEFAULT, METRICS
from experiments.define.parameters import (
    PARAMETERS,
    Overrides,
    check_known,
    did_you_mean,
    flatten,
    load_mapping,
)
from lm.config.sections import SECTIONS

_KEYS_OF_A_SET = {"asks", "base", "seeds", "baseline", "experiments", "sweep", "against", "by", "metric"}


def load_experiments(path: Path) -> Experiments:
    """Every preset and set of an experiments.yaml, or the mistake in it.

    Raises:
        ValueError: for a mistake that is not in one entry alone; the message gives place, rule and value.
    """
    content = load_mapping(path)
    _check_keys(content, {"presets", "sets"}, str(path))
    presets, sets = content.get("presets") or {}, content.get("sets") or {}
    for title, entries in (("presets", presets), ("sets", sets)):
        _check_names(entries, f"{path}: {title}")
    if not presets and not sets:
        raise ValueError(f"{path}: must have presets or sets, got neither")
    if twice := presets.keys() & sets.keys():
        raise ValueError(f"{path}: a preset and a set must not share a name, got {sorted(twice)[0]!r}")
    all_sets = Experiments()
    for name, entry in presets.items():
        with _noting(all_sets, name):
            all_sets[name] = _preset(name, entry, f"{path}: presets.{name}")
    for name, entry in sets.items():
        with _noting(all_sets, name):
            all_sets[name] = _set(name, entry, all_sets, f"{path}: sets.{name}")
    names = [run.name for experiment_set in all_sets.values() for run in experiment_set.runs]
    if len(names) > len(set(names)):
        raise ValueError(f"{path}: runs must differ in name, got {max(names, key=names.count)!r} twice")
    return all_sets


@contextmanager
def _noting(experiments: Experiments, name: str) -> Iterator[None]:
    """Note a mistake as that of the entry of this name."""
    try:
        yield
    except ValueError as error:
        experiments.mistakes[name] = str(error)


def _preset(name: str, entry: Any, place: str) -> ExperimentSet:
    _check_keys(entry, {"asks", "hardware", "seed", *SECTIONS}, place)
    asks, hardware = _text(entry, "asks", place), _text(entry, "hardware", place)
    run = Run(name, name, None, asks, _overrides(entry, place))
    return ExperimentSet(name, asks, hardware, (run,), None, None, None)


def _set(name: str, entry: Any, presets: Experiments, place: str) -> ExperimentSet:
    _check_keys(entry, _KEYS_OF_A_SET | SECTIONS.keys(), place)
    shared: Overrides = {}
    if base := entry.get("base"):
        if isinstance(base, str) and base in presets.mistakes:
            raise ValueError(f"{place}.base: {base} has a mistake: {presets.mistakes[base]}")
        if not isinstance(base, str) or base not in presets:
            raise ValueError(f"{place}.base: must be a preset{did_you_mean(str(base), list(presets))}, got {base!r}")
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
            check_known(entry[key], [*PARAMETERS, "n_parameters"], f"{place}.{key}: no such parameter or metric")
    metric = entry.get("metric", DEFAULT)
    check_known(metric, list(METRICS), f"{place}.metric: no such metric")
    for _, overrides in members.values():
        value = overrides.get(entry.get("against"), 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{place}.against: must be a parameter that is a number, got {value!r} among its values")
    swept = tuple(_overrides(entry.get("sweep") or {}, f"{place}.sweep"))
    return ExperimentSet(name, asks, None, runs, baseline, entry.get("against"), entry.get("by"), swept, metric)


def _members(entries: Any, place: str) -> dict[str, tuple[str, Overrides]]:
    """The question and the overrides of each experiment of a set, by its name."""
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{place}: must be a mapping of names to experiments, got {entries!r}")
    _check_names(entries, place)
    members = {}
    for name, entry in entries.items():
        _check_keys(entry, {"asks", *SECTIONS}, f"{place}.{name}")
        members[name] = (_text(entry, "asks", f"{place}.{name}"), _overrides(entry, f"{place}.{name}"))
    return members


def _sweep(sweep: Any, asks: str, place: str) -> dict[str, tuple[str, Overrides]]:
    """The question and the overrides of an experiment for every combination of the swept values.

    The values make its name: `0.003-2`.
    """
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
    """The overrides that the sections of an entry make."""
    for key in entry.keys() & SECTIONS.keys():
        if not isinstance(entry[key], dict):
            raise ValueError(f"{place}.{key}: must be a mapping of parameters, got {entry[key]!r}")
    flat = flatten({key: value for key, value in entry.items() if key in SECTIONS or key == "seed"})
    for key in flat:
        check_known(key, PARAMETERS, f"{place}: {key}: no such parameter")
    return flat


def _check_names(entries: Any, place: str) -> None:
    if not isinstance(entries, dict):
        raise ValueError(f"{place}: must be a mapping, got {entries!r}")
    for name in entries:
        check_name(name, place)


def check_name(name: Any, place: str) -> None:
    """Check the name of an experiment, because it becomes the name of one of DVC's, and so of a reference of git."""
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"\w[\w.+-]*", name)
        or name.endswith((".", ".lock"))
        or ".." in name
    ):
        raise ValueError(
            f"{place}: names must begin with a letter or digit, hold only letters, digits, '-', '_', '+' and single "
            f"dots, and not end in a dot or .lock, got {name!r}"
        )


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
