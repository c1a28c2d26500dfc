"""Parameters of the corpus."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


EVERY_LINE = "\n"  # as a separator: each line is a document
BLANK_LINES = "\n\n"  # as a separator: blank lines end a document


class DataConfig(Section):
    """Where the text comes from, and how much of it is taken."""

    source: Literal["stories", "files", "hub"]
    n_stories: Count
    n_valid_stories: Count
    train: list[str]
    valid: list[str]
    text_column: str
    separator: str
    dataset: Annotated[str, Field(min_length=1)]
    revision: str | None
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
        return self


def resolve(pattern: str, root: Path) -> Path:
    """A path from params.yaml as a path on this machine. Relative paths start at `root`, the root of the repository."""
    path = Path(pattern).expanduser()
    return path if path.is_absolute() else root / path
