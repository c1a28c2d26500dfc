"""Parameters of evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section


class EvaluateConfig(Section):
    """How a trained model is evaluated. Nothing here changes the result beyond rounding."""

    batch_size: Annotated[int, Field(ge=1)] | None
    device: Literal["auto", "cpu", "cuda", "mps"]

    def batch_size_on(self, device: str) -> int:
        """How many contexts at once. Null: 2 on a CPU, whose caches hold little more, and 32 elsewhere."""
        return self.batch_size or (2 if device == "cpu" else 32)
