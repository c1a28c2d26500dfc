"""Parameters of fine-tuning: how the base model becomes a chat model."""

from typing import Annotated, Literal

from pydantic import Field

from lm.config.base import Section
from lm.config.train import Count, Fraction, Rate, TrainConfig


class Finetuning(TrainConfig):
    """How fine-tuning trains; its errors name the section `finetune`."""

    @classmethod
    def name(cls) -> str:
        """The section that a user would change."""
        return FinetuneConfig.name()


class FinetuneConfig(Section):
    """What fine-tuning does otherwise than the training of the base model, from which it takes the rest."""

    epochs: Count
    batch_size: Count
    accumulate: Count
    learning_rate: Rate
    schedule: Literal["cosine", "linear", "constant", "wsd"]
    warmup_steps: Annotated[int, Field(ge=0)] | None
    learn: Literal["answers", "all"]
    answer_weight: Fraction
    pack: bool
    attend: Literal["dialogue", "row"]
    valid_every: Count
    valid_sequences: Count
    patience: Count | None
    keep: Literal["best", "last"]

    def training(self, base: TrainConfig, n_rows: int) -> Finetuning:
        """How a model is trained on so many rows: as the base model was, except for what this section says.

        Raises:
            ValueError: with a line that names the section, for values that do not fit each other.
        """
        own = self.model_dump(include=FinetuneConfig.model_fields.keys() & TrainConfig.model_fields.keys())
        return Finetuning.parse(
            base.model_dump()
            | own
            | {
                "steps": max(1, self.epochs * n_rows // self.batch_size),
                "tokens": None,
                "snapshots": [],
                "ramp_steps": 0,
                "rows": "documents" if self.attend == "dialogue" else "windows",
                "learning_rate": self.learning_rate * base.learning_rate,
            }
        )
