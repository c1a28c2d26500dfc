"""Parameters of sampling."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section


class SampleConfig(Section):
    """How text is generated from a trained model."""

    prompts: Annotated[list[str], Field(min_length=1)]
    max_new_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1)] | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    device: Literal["auto", "cpu", "cuda", "mps"]
