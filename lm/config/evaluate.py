"""Parameters of evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section
from lm.config.weights import Weights


class EvaluateConfig(Section):
    """How a trained model is evaluated, and on what beside the validation text."""

    batch_size: Annotated[int, Field(ge=1)] | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    weights: Weights = "fp32"
    minimal_pairs: Annotated[str, Field(min_length=1)] | None = None

    def batch_size_on(self, device: str) -> int:
        """How many contexts at once. Null: 2 on a CPU, whose caches hold little more, and 32 elsewhere."""
        return self.batch_size or (2 if device == "cpu" else 32)
