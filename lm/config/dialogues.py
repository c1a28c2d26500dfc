"""Parameters of the dialogues that a chat model learns from."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section

Count = Annotated[int, Field(ge=1)]
# The longest of the built-in stories have about 1,100 characters, and something must be said of them.
LEAST_CHARACTERS = 1300


class DialoguesConfig(Section):
    """Where dialogues come from, and how many are taken."""

    source: Literal["stories"]
    n_dialogues: Count
    n_valid_dialogues: Count
    max_characters: Annotated[int, Field(ge=LEAST_CHARACTERS)]
