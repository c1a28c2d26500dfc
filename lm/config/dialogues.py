"""Parameters of the dialogues that a chat model learns from."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.outside import Count, OutsideSection

# Every plot of the built-in stories is often told in 1,030 characters, and something must be said of it.
LEAST_CHARACTERS = 1150


class DialoguesConfig(OutsideSection):
    """Where dialogues come from, and how many are taken."""

    source: Literal["stories", "files", "hub"]
    n_dialogues: Count
    n_valid_dialogues: Count
    max_characters: Annotated[int, Field(ge=LEAST_CHARACTERS)]
    broken_rows: Literal["fail", "skip"]
    max_dialogues: Count | None
