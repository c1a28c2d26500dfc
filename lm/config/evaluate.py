"""Parameters of evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section


class EvaluateConfig(Section):
    """How a trained model is evaluated. Nothing here changes the result beyond rounding."""

    batch_size: Annotated[int, Field(ge=1)]
    device: Literal["auto", "cpu", "cuda", "mps"]
