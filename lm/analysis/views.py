"""The kinds of view that the page of the analysis can draw, as frozen dataclasses that become JSON and come back.

A view holds a title, a sentence or two that say what it shows, and its data: no colours, no HTML. Sequences may be
given as lists; numbers are finite, or None where there is none. `numbers` makes such lists of an array.

>>> view = Bars("Commonest words", "How often each stands in the text.", "count", ["the", "a"], [12, 7])
>>> topic_from_json(as_json(Topic("text", "Text", [view]))).views[0] == view
True

A view whose parts do not fit is a ValueError, as `topic_from_json` is for JSON that holds no topic.
"""

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Integer
from pydantic import AfterValidator, ConfigDict, Field, RootModel, ValidationError
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_DIGITS = 4  # that a reader of a picture can use; more would only make the page larger

Number = float | None
Cell = str | int | float | None  # of a table


T = TypeVar("T")
Many = Annotated[Sequence[T], AfterValidator(tuple)]  # kept as a tuple


def numbers(array: Float[np.ndarray, "..."] | Integer[np.ndarray, "..."] | Bool[np.ndarray, "..."]) -> Any:
    """The nested lists of an array of any shape, to four significant digits; None for what is NaN or infinite."""
    return _rounded(array.tolist())


def _rounded(value: Any) -> Any:
    match value:
        case list():
            return [_rounded(part) for part in value]
        case float():
            return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
        case _:
            return int(value)


@dataclass(frozen=True, config=_STRICT)
class Curve:
    """A line: its name, and a y for each x; the line is broken where y is None."""

    name: str
    x: Many[float]
    y: Many[Number]

    def __post_init__(self) -> None:
        _check_length("y", self.y, "x", self.x)


@dataclass(frozen=True, config=_STRICT)
class Curves:
    """Lines over one pair of axes; with `points`, dots instead. A log axis leaves out what is not above 0."""

    title: str
    shows: str
    x_label: str
    y_label: str
    curves: Many[Curve]
    log_x: bool = False
    log_y: bool = False
    points: bool = False
    kind: Literal["curves"] = field(default="curves", kw_only=True)


@dataclass(frozen=True, config=_STRICT)
class Bars:
    """A bar for each label, below or right of zero, and its standard error where `errors` are given."""

    title: str
    shows: str
    value_label: str
    labels: Many[str]
    values: Many[Number]
    errors: Many[Number] = ()
    kind: Literal["bars"] = field(default="bars", kw_only=True)

    def __post_init__(self) -> None:
        _check_length("values", self.values, "labels", self.labels)
        if self.errors:
            _check_length("errors", self.errors, "labels", self.labels)


@dataclass(frozen=True, config=_STRICT)
class Table:
    """Rows of cells under the names of the columns. Text keeps its line breaks and spaces."""

    title: str
    shows: str
    columns: Many[str]
    rows: Many[Many[Cell]]
    kind: Literal["table"] = field(default="table", kw_only=True)

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            _check_length(f"rows[{place}]", row, "columns", self.columns)


@dataclass(frozen=True, config=_STRICT)
class Token:
    """A token of a coloured text: its value, and the tokens that could stand there, each with its own value."""

    text: str
    value: Number = None
    alternatives: Many[tuple[str, Number]] = ()


@dataclass(frozen=True, config=_STRICT)
class Tokens:
    """A text whose tokens are coloured by a value, from pale (the lowest) to dark; alternatives show on hover.

    Where some values are below zero, the colours are of two kinds, pale at zero.
    """

    title: str
    shows: str
    value_label: str
    alternative_label: str  # what the number of an alternative is, such as "probability"
    tokens: Many[Token]
    kind: Literal["tokens"] = field(default="tokens", kw_only=True)


@dataclass(frozen=True, config=_STRICT)
class Attention:
    """The attention of every head over the tokens of a text: hover a token, and see where it looks.

    `weights[layer][head][query]` has a number for each key up to the query: query + 1 of them. `attention` makes it of
    an array. A `label` of a head, such as "previous token", is shown beside its name.
    """

    title: str
    shows: str
    tokens: Many[str]
    weights: Many[Many[Many[Many[float]]]]
    labels: Many[Many[str]] = ()  # [layer][head]
    kind: Literal["attention"] = field(default="attention", kw_only=True)

    def __post_init__(self) -> None:
        for layer in self.weights:
            for head in layer:
                _check_length("weights[layer][head]", head, "tokens", self.tokens)
                for query, row in enumerate(head):
                    if len(row) != query + 1:
                        raise ValueError(f"weights[layer][head][{query}]: must have {query + 1} keys, got {len(row)}")
        if self.labels and [len(layer) for layer in self.labels] != [len(layer) for layer in self.weights]:
            raise ValueError(f"labels: must have one for each head, got {[len(layer) for layer in self.labels]}")


@dataclass(frozen=True, config=_STRICT)
class Grid:
    """Numbers in rows and columns as colours: layers x heads, or layers x tokens.

    `texts` stand in the cells in place of the numbers, such as the likeliest token of each layer. Where some values
    are below zero, the colours are of two kinds, pale at zero.
    """

    title: str
    shows: str
    row_label: str
    column_label: str
    value_label: str
    rows: Many[str]
    columns: Many[str]
    values: Many[Many[Number]]
    texts: Many[Many[str]] = ()
    kind: Literal["grid"] = field(default="grid", kw_only=True)

    def __post_init__(self) -> None:
        for name, cells in (("values", self.values), ("texts", self.texts)):
            if name == "values" or cells:
                _check_length(name, cells, "rows", self.rows)
            for place, row in enumerate(cells):
                _check_length(f"{name}[{place}]", row, "columns", self.columns)


View = Curves | Bars | Table | Tokens | Attention | Grid


@dataclass(frozen=True, config=_STRICT)
class Topic:
    """The views of a topic, such as the tokenizer. `name` is for files and links; `notes` say what is missing."""

    name: str
    title: str
    views: Many[Annotated[View, Field(discriminator="kind")]]
    notes: Many[str] = ()


_TopicModel = RootModel[Topic]


def as_json(topic: Topic) -> dict[str, Any]:
    """The topic as what JSON can hold."""
    found: dict[str, Any] = _TopicModel(topic).model_dump(mode="json")
    return found


def topic_from_json(data: Any) -> Topic:
    """The topic that `as_json` was given.

    Raises:
        ValueError: when it is no such thing, in one line.
    """
    try:
        return _TopicModel.model_validate(data).root
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "topic"
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def attention(weights: Float[np.ndarray, "layers heads query key"]) -> Any:
    """The `weights` of `Attention`, to three decimals, from those of one text. What a query cannot see is left out."""
    rounded = np.round(weights.astype(np.float64), 3)
    return tuple(
        tuple(tuple(tuple(row[: query + 1].tolist()) for query, row in enumerate(head)) for head in layer)
        for layer in rounded
    )


def _check_length(name: str, values: Sequence[object], other: str, others: Sequence[object]) -> None:
    if len(values) != len(others):
        raise ValueError(f"{name}: must have {len(others)} entries, as many as {other}, got {len(values)}")
