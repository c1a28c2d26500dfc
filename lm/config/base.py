"""The parent class of all sections of params.yaml: typed, frozen, with errors that say what to change."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from lm.system.messages import one_line

# The words for what Pydantic calls otherwise, by the type of its error and by the type of the items of a list.
_RULES = {"bool_type": "true or false"}
_ITEMS = {int: "integer", float: "number", str: "text"}


class Section(BaseModel):
    """One section of params.yaml.

    A subclass has one annotated field for each parameter. Values are checked strictly: `"8"` is no number, `1` is no
    boolean, and an unknown key is an error. But `1e6`, which YAML reads as a number with a fraction, is an integer.

    Raises:
        ValueError: from `parse` and `load`, with one line for each mistake: `place: rule, got value`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Parameters of earlier versions, and where they stand now; values of parameters, and what they are called now.
    moved: ClassVar[Mapping[str, str]] = {}
    moved_values: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    @classmethod
    def name(cls) -> str:
        """The key of this section in params.yaml: the class name without `Config`, in lower case."""
        return cls.__name__.removesuffix("Config").lower()

    def wrong(self, parameter: str, rule: str) -> ValueError:
        """The error of a parameter of this section: `place: rule, got value`, where `rule` ends with the value."""
        return ValueError(f"{self.name()}.{parameter}: {rule}")

    @classmethod
    def parse(cls, values: Any) -> Self:
        """The section from plain values, as read from YAML or JSON."""
        cls.check_moved(values)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            by_place: dict[str, list[Any]] = defaultdict(list)
            mistakes = error.errors()
            meant = {nearest(str(m["loc"][0]), cls.model_fields) for m in mistakes if m["type"] == "extra_forbidden"}
            for mistake in mistakes:
                if mistake["type"] == "missing" and mistake["loc"][0] in meant:
                    continue  # it is there with a typing mistake in its name
                # After the name of the field, numbers are places in a list; names are types that Pydantic has tried.
                place = [part for i, part in enumerate(mistake["loc"]) if i == 0 or isinstance(part, int)]
                by_place[".".join(map(str, (cls.name(), *place)))].append(mistake)
            raise ValueError("\n".join(_explain(cls, *mistakes) for mistakes in by_place.items())) from None

    @classmethod
    def check_moved(cls, values: Any) -> None:
        """Raise ValueError when the values hold what stands in another section, or is called otherwise, now."""
        if not isinstance(values, dict):
            return
        if old := [name for name in values if name in cls.moved]:
            places = ", ".join(f"{cls.name()}.{name} to {cls.moved[name]}" for name in old)
            raise ValueError(f"these parameters are of an earlier version, and have moved: {places}")
        for name, new_names in cls.moved_values.items():
            if isinstance(value := values.get(name), str) and value in new_names:
                raise ValueError(
                    f"{cls.name()}.{name}: must be {new_names[value]!r}, as {value!r} of an earlier version is called "
                    f"now, got {value!r}"
                )

    @model_validator(mode="before")
    @classmethod
    def _integers(cls, values: Any) -> Any:
        integers = {name for name, field in cls.model_fields.items() if _holds(field.annotation, int)}
        if not isinstance(values, dict):
            return values
        return {name: whole(value) if name in integers else value for name, value in values.items()}

    def changed(self, **values: Any) -> Self:
        """The same section with some values changed, checked like a new one."""
        return self.parse(self.model_dump() | values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The section as it stands in a params.yaml."""
        return cls.parse(read_yaml(path, cls.name())[cls.name()])


def parse_seed(seed: Any) -> int:
    """The top-level `seed` from a plain value. Raises ValueError for anything but a number of 32 bits."""
    seed = whole(seed)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"seed: must be an integer from 0 to 2**32 - 1, got {seed!r}")
    return seed


def load_seed(path: Path) -> int:
    """The top-level `seed` of a params.yaml."""
    return parse_seed(read_yaml(path, "seed")["seed"])


def read_yaml(path: Path, *needed: str) -> dict[str, Any]:
    """The mapping in a YAML file, as plain values.

    Raises:
        ValueError: when the file holds no YAML mapping, or lacks one of the `needed` keys.
    """
    values = parse_yaml(path.read_bytes(), str(path))
    for key in needed:
        if not isinstance(values, dict) or key not in values:
            raise ValueError(
                f"{path}: must have the key {key!r}; compare the file with the params.yaml of this version"
            )
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must be a mapping, got {values!r}")
    return values


def parse_yaml(text: str | bytes, place: str) -> Any:
    """The plain value in a text of YAML.

    Raises:
        ValueError: when it is not YAML, with the line of the mistake: `place:line: not valid YAML: what is wrong`.
    """
    # ruamel reads YAML 1.2, where 1e-05 is a number; PyYAML reads 1.1, where it is a string. Pure means its reader in
    # Python: the one in C, which is there with ruamel.yaml.clib, refuses `{asks: Does it run?, train: {}}`.
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line, what = error.problem_mark.line + 1, " ".join(error.problem.split())
        if error.context_mark is not None and (start := error.context_mark.line + 1) != line:
            what += f", {error.context} that begins in line {start}"
        raise ValueError(f"{place}:{line}: not valid YAML: {what}") from None
    except YAMLError as error:
        raise ValueError(f"{place}: not valid YAML: {one_line(error)}") from None


def whole(value: Any) -> Any:
    """A number without a fraction as an integer, and any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`; None where none is near.

    What stands before the last dot matters less: `dmodel` and `train.d_model` are both most like `model.d_model`.
    """
    *_, last = name.split(".")
    by_last = {each.split(".")[-1]: each for each in reversed([*known])}
    if last in by_last:
        return by_last[last]
    candidates = {each: each for each in known} if "." in name else by_last
    near = difflib.get_close_matches(name, candidates, n=1)
    return candidates[near[0]] if near else None


def unknown(place: str, what: str, known: Iterable[str]) -> str:
    """The error of a name that is not known, which ends the dotted `place`. It says which name may be meant."""
    before, _, name = place.rpartition(".")
    if near := nearest(name, known):
        return f"{place}: unknown {what}, did you mean {before and before + '.'}{near}?"
    return f"{place}: unknown {what}, must be one of {', '.join(known)}"


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(part, kind) for part in get_args(annotation))


def _explain(section: type[Section], place: str, mistakes: Sequence[Any]) -> str:
    """The error of one value: `place: rule, got value`. A value with several allowed types has a mistake for each."""
    mistake = mistakes[0]
    match mistake["type"]:
        case "extra_forbidden":
            return unknown(place, "parameter", section.model_fields)
        case "invalid_key":
            return f"{place}: must be a name"
        case "missing":
            return f"{place}: missing"
        case "value_error":  # from a validator of ours, which already names place and value
            return str(mistake["ctx"]["error"])
        case "model_type" | "dict_type":
            return f"{place}: must be a mapping of parameters, got {mistake['input']!r}"
        case "list_type" | "too_short" | "too_long":
            return (
                f"{place}: must be {_list_in_words(section.model_fields[mistake['loc'][0]])}, got {mistake['input']!r}"
            )
        case "string_too_short":
            return f"{place}: must not be empty, got {mistake['input']!r}"
        case _:
            rules = [_RULES.get(each["type"], each["msg"].removeprefix("Input should be ")) for each in mistakes]
            return f"{place}: must be {' or '.join(rules)}, got {mistake['input']!r}"


def _list_in_words(field: FieldInfo) -> str:
    """What a list must hold: `a list of 2 numbers`."""
    item = next(word for kind, word in _ITEMS.items() if _holds(field.annotation, kind))
    bounds = {type(rule): rule for rule in field.metadata}
    least = bounds[MinLen].min_length if MinLen in bounds else 0
    exactly = MaxLen in bounds and bounds[MaxLen].max_length == least
    count = f"{'' if exactly else 'at least '}{least} " if least else ""
    return f"a list of {count}{item}{'' if least == 1 else 's'}"
