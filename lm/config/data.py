"""Parameters of the corpus."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lm.config.base import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
EVERY_LINE = "\n"  # as a separator: each line is a document
BLANK_LINES = "\n\n"  # as a separator: blank lines end a document
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

    def overlaps(self, other: "SplitRows") -> bool:
        """Whether both have a row in common, if the split is long enough."""
        ends = [rows.stop if rows.stop is not None else math.inf for rows in (self, other)]
        return self.split == other.split and self.start < ends[1] and other.start < ends[0]


class DataConfig(Section):
    """Where the text comes from, and how much of it is taken."""

    source: Literal["stories", "files", "hub"]
    n_stories: Count
    n_valid_stories: Count
    train: list[str]
    valid: list[str]
    text_column: str
    null_rows: Literal["fail", "skip"]
    # DVC's -S leaves a backslash and an n as they are, where YAML makes a line break of them.
    separator: Annotated[str, AfterValidator(lambda text: {r"\n": EVERY_LINE, r"\n\n": BLANK_LINES}.get(text, text))]
    dataset: Annotated[str, Field(min_length=1)]
    revision: str | None
    configuration: Annotated[str, Field(min_length=1)] | None
    train_split: str
    valid_split: str | None
    valid_fraction: Fraction
    max_documents: Count | None
    max_bytes: Count | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "files" and not self.train:
            raise self.wrong("train", "must name at least one file when data.source is 'files', got []")
        visible = self.separator.strip()
        if self.separator not in (EVERY_LINE, BLANK_LINES) and (not visible or "\n" in visible):
            rule = r"must be one line with a visible character, or '\n\n' for blank lines, or '\n' for every line"
            raise self.wrong("separator", f"{rule}, got {self.separator!r}")
        train, valid = self.train_rows, self.valid_rows
        if valid is not None and valid.overlaps(train):
            rule = f"must share no rows with data.train_split={self.train_split!r}, got {self.valid_split!r}"
            raise self.wrong("valid_split", rule)
        return self

    @property
    def train_rows(self) -> SplitRows:
        """The rows of a dataset of the hub to train on."""
        return SplitRows.parse(self.train_split, "data.train_split")

    @property
    def valid_rows(self) -> SplitRows | None:
        """The rows of a dataset of the hub to validate on; None if its own validation split is meant."""
        return None if self.valid_split is None else SplitRows.parse(self.valid_split, "data.valid_split")


def resolve(pattern: str, root: Path) -> Path:
    """A path from params.yaml as a path on this machine. Relative paths start at `root`, the root of the repository."""
    return root / expanded(pattern)


def expanded(pattern: str) -> Path:
    """A path whose `~` is the home of a user; unchanged if there is no such user, because a file may begin with `~`."""
    try:
        return Path(pattern).expanduser()
    except RuntimeError:
        return Path(pattern)
