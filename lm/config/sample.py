"""Parameters of sampling."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Phrase = Annotated[str, Field(min_length=1)]


class SampleConfig(Section):
    """How text is generated from a trained model. What has a value here is off or plain with it."""

    prompts: Annotated[list[str], Field(min_length=1)]
    max_new_tokens: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1)] | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram: Annotated[int, Field(ge=1)] | None = None
    stop: list[Phrase] = Field(default_factory=list)
    forbid: list[Phrase] = Field(default_factory=list)
    require: list[Phrase] = Field(default_factory=list)
    beams: Annotated[int, Field(ge=1)] = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    penalty_alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 1
    device: Literal["auto", "cpu", "cuda", "mps"]

    @model_validator(mode="after")
    def _search(self) -> Self:
        if self.require and self.beams == 1:
            raise self.wrong("beams", "must be 2 or more where sample.require holds something, got 1")
        if self.beams > 1 and self.samples > self.beams:
            raise self.wrong("samples", f"must be at most beams={self.beams}, got {self.samples}")
        if self.penalty_alpha is not None:
            if self.top_k is None:
                raise self.wrong("top_k", "must be a number where sample.penalty_alpha is one, got null")
            if self.beams > 1:
                raise self.wrong("beams", f"must be 1 where sample.penalty_alpha is a number, got {self.beams}")
            if self.samples > 1:
                raise self.wrong("samples", f"must be 1 where sample.penalty_alpha is a number, got {self.samples}")
        return self
