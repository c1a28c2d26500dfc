"""The parent class of all sections of params.yaml: typed, frozen, with errors that say what to change."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


class Section(BaseModel):
    """One section of params.yaml.

    A subclass has one annotated field for each parameter. Values are checked strictly: `8.0` and `"8"` are not
    integers, and an unknown key is an error.

    Raises:
        ValueError: from `parse` and `load`, with one line for each mistake: `place: rule, got value`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Parameters of earlier versions, and where they stand now.
    moved: ClassVar[Mapping[str, str]] = {}

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
            for mistake in error.errors():
                # After the name of the field, numbers are places in a list; names are types that Pydantic has tried.
                place = [part for i, part in enumerate(mistake["loc"]) if i == 0 or isinstance(part, int)]
                by_place[".".join(map(str, (cls.name(), *place)))].append(mistake)
            raise ValueError("\n".join(_explain(cls, *mistakes) for mistakes in by_place.items())) from None

    @classmethod
    def check_moved(cls, values: Any) -> None:
        """Raise ValueError when the values hold parameters that stand in another section now."""
        if isinstance(values, dict) and (old := [name for name in values if name in cls.moved]):
            places = ", ".join(f"{cls.name()}.{name} to {cls.moved[name]}" for name in old)
            raise ValueError(f"these parameters are of an earlier version, and have moved: {places}")

    def changed(self, **values: Any) -> Self:
        """The same section with some values changed, checked like a new one."""
        return self.parse(self.model_dump() | values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The section as it stands in a params.yaml."""
        return cls.parse(_read_key(path, cls.name()))


def load_seed(path: Path) -> int:
    """The top-level `seed` of a params.yaml."""
    seed = _read_key(path, "seed")
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"seed: must be an integer from 0 to 2**32 - 1, got {seed!r}")
    return seed


def _read_key(path: Path, key: str) -> Any:
    # ruamel reads YAML 1.2, where 1e-05 is a number; PyYAML reads 1.1, where it is a string.
    try:
        values = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or key not in values:
        raise ValueError(f"{path}: must have the key {key!r}; compare the file with the params.yaml of this version")
    return values[key]


def _explain(section: type[Section], place: str, mistakes: Sequence[Any]) -> str:
    """The error of one value: `place: rule, got value`. A value with several allowed types has a mistake for each."""
    mistake = mistakes[0]
    match mistake["type"]:
        case "extra_forbidden":
            known = ", ".join(section.model_fields)
            return f"{place}: unknown parameter, must be one of {known}"
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
        case _:
            rules = [mistake["msg"].removeprefix("Input should be ") for mistake in mistakes]
            return f"{place}: must be {' or '.join(rules)}, got {mistake['input']!r}"
