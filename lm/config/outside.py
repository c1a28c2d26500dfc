"""What a section says of data from outside: files, or a dataset of the Hugging Face hub."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
SPLIT = re.compile(r"([^\[\]]+)(?:\[(\d*):(\d*)\])?")


@dataclass(frozen=True)
class SplitRows:
    """Rows of a split of a dataset, from `start` to before `stop`; None means to the end."""

    split: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str, place: str) -> "SplitRows":
        """From `NAME`, or `NAME[START:STOP]` where both numbers may be left out, as in Python.

        Raises:
            ValueError: for any other text, and when no rows are left; it names the `place`.
        """
        match = SPLIT.fullmatch(text)
        rows = cls(match[1], int(match[2] or 0), int(match[3]) if match[3] else None) if match else None
        if rows is None or (rows.stop is not None and rows.stop <= rows.start):
            raise ValueError(f"{place}: must be a split, or rows of one such as 'train[100:200]', got {text!r}")
        return rows

    def __str__(self) -> str:
        stop = "" if self.stop is None else self.stop
        return self.split if (self.start, self.stop) == (0, None) else f"{self.split}[{self.start}:{stop}]"

    def overlaps(self, other: "SplitRows") -> bool:
        """Whether both have a row in common, if the split is long enough."""
        ends = [rows.stop if rows.stop is not None else math.inf for rows in (self, other)]
        return self.split == other.split and self.start < ends[1] and other.start < ends[0]


class OutsideSection(Section):
    """The source, and what says which files or which rows of a dataset are meant."""

    source: str
    train: list[str]
    valid: list[str]
    dataset: Annotated[str, Field(min_length=1)]
    revision: str | None
    configuration: Annotated[str, Field(min_length=1)] | None
    train_split: str
    valid_split: str | None
    valid_fraction: Fraction

    @model_validator(mode="after")
    def _check_outside(self) -> Self:
        if self.source == "files" and not self.train:
            raise self.wrong("train", f"must name at least one file when {self.name()}.source is 'files', got []")
        train, valid = self.train_rows, self.valid_rows
        if valid is not None and valid.overlaps(train):
            rule = f"must share no rows with {self.name()}.train_split={self.train_split!r}, got {self.valid_split!r}"
            raise self.wrong("valid_split", rule)
        return self

    @property
    def train_rows(self) -> SplitRows:
        """The rows of a dataset of the hub to train on."""
        return SplitRows.parse(self.train_split, f"{self.name()}.train_split")

    @property
    def valid_rows(self) -> SplitRows | None:
        """The rows of a dataset of the hub to validate on; None if its own validation split is meant."""
        return None if self.valid_split is None else SplitRows.parse(self.valid_split, f"{self.name()}.valid_split")


def resolve(pattern: str, root: Path) -> Path:
    """A path from params.yaml as a path on this machine. Relative paths start at `root`, the root of the repository."""
    return root / expanded(pattern)


def expanded(pattern: str) -> Path:
    """A path whose `~` is the home of a user; unchanged if there is no such user, because a file may begin with `~`."""
    try:
        return Path(pattern).expanduser()
    except RuntimeError:
        return Path(pattern)
