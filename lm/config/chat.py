"""Parameters of how a chat model is evaluated."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section
from lm.config.weights import Weights


class ChatConfig(Section):
    """How the chat model answers the validation dialogues."""

    n_dialogues: Annotated[int, Field(ge=1)] | None
    max_new_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    batch_size: Annotated[int, Field(ge=1)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    weights: Weights
