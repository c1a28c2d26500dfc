"""Parameters of the corpus."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from lm.config.outside import Count, OutsideSection

EVERY_LINE = "\n"  # as a separator: each line is a document
BLANK_LINES = "\n\n"  # as a separator: blank lines end a document


class DataConfig(OutsideSection):
    """Where the text comes from, and how much of it is taken."""

    source: Literal["stories", "files", "hub"]
    n_stories: Count
    n_valid_stories: Count
    text_column: str
    null_rows: Literal["fail", "skip"]
    # DVC's -S leaves a backslash and an n as they are, where YAML makes a line break of them.
    separator: Annotated[str, AfterValidator(lambda text: {r"\n": EVERY_LINE, r"\n\n": BLANK_LINES}.get(text, text))]
    max_documents: Count | None
    max_bytes: Count | None

    @model_validator(mode="after")
    def _check_separator(self) -> Self:
        visible = self.separator.strip()
        if self.separator not in (EVERY_LINE, BLANK_LINES) and (not visible or "\n" in visible):
            rule = r"must be one line with a visible character, or '\n\n' for blank lines, or '\n' for every line"
            raise self.wrong("separator", f"{rule}, got {self.separator!r}")
        return self
