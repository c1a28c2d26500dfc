"""The parent class of all sections of params.yaml: typed, frozen, with errors that say what to change."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lm.system.messages import one_line


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
        integers = {name for name, field in cls.model_fields.items() if _holds_integers(field.annotation)}
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
    # ruamel reads YAML 1.2, where 1e-05 is a number; PyYAML reads 1.1, where it is a string.
    try:
        values = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {one_line(error)}") from None
    for key in needed:
        if not isinstance(values, dict) or key not in values:
            raise ValueError(
                f"{path}: must have the key {key!r}; compare the file with the params.yaml of this version"
            )
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must be a mapping, got {values!r}")
    return values


def whole(value: Any) -> Any:
    """A number without a fraction as an integer, and any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`; None where none is near."""
    near = difflib.get_close_matches(name, [*known], n=1)
    return near[0] if near else None


def unknown(place: str, what: str, known: Iterable[str]) -> str:
    """The error of a name that is not known, which ends the dotted `place`. It says which name may be meant."""
    before, _, name = place.rpartition(".")
    if near := nearest(name, known):
        return f"{place}: unknown {what}, did you mean {before and before + '.'}{near}?"
    return f"{place}: unknown {what}, must be one of {', '.join(known)}"


def _holds_integers(annotation: Any) -> bool:
    return annotation is int or any(map(_holds_integers, get_args(annotation)))


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
        case "model_type":
            return f"{place}: must be a mapping of parameters, got {mistake['input']!r}"
        case "too_short":
            return f"{place}: must have at least {mistake['ctx']['min_length']} items, got {mistake['input']!r}"
        case "too_long":
            return f"{place}: must have at most {mistake['ctx']['max_length']} items, got {mistake['input']!r}"
        case "string_too_short":
            return f"{place}: must have at least {mistake['ctx']['min_length']} characters, got {mistake['input']!r}"
        case _:
            rules = [mistake["msg"].removeprefix("Input should be ") for mistake in mistakes]
            return f"{place}: must be {' or '.join(rules)}, got {mistake['input']!r}"
