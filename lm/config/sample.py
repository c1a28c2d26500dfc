"""Parameters of sampling."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section
from lm.config.weights import Weights

Phrase = Annotated[str, Field(min_length=1)]
Subtracted = Annotated[float, Field(ge=-100, le=100)]

_SHARED = ("prompts", "device", "weights", "strategies")  # parameters that no strategy changes
_KEPT = ("prompts", "device", "weights", "max_new_tokens", "stop", "forbid")  # that a strategy takes from the section
_PLAIN: Mapping[str, Any] = {"temperature": 1.0, "top_k": None, "top_p": None}  # the model's own distribution


class SampleConfig(Section):
    """How text is generated from a trained model. What has a value here is off or plain with it."""

    prompts: Annotated[list[str], Field(min_length=1)]
    max_new_tokens: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1)] | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    frequency_penalty: Subtracted = 0.0
    presence_penalty: Subtracted = 0.0
    no_repeat_ngram: Annotated[int, Field(ge=1)] | None = None
    stop: list[Phrase] = Field(default_factory=list)
    forbid: list[Phrase] = Field(default_factory=list)
    require: list[Phrase] = Field(default_factory=list)
    beams: Annotated[int, Field(ge=1)] = 1
    length_penalty: Annotated[float, Field(ge=-10, le=10)] = 1.0
    early_stopping: bool | Literal["never"] = False
    penalty_alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 1
    strategies: dict[Phrase, Any] = Field(default_factory=dict)
    device: Literal["auto", "cpu", "cuda", "mps"]
    weights: Weights = "fp32"

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

    @model_validator(mode="after")
    def _check_strategies(self) -> Self:
        self.by_strategy()
        return self

    def by_strategy(self) -> Mapping[str, Self]:
        """The section of each strategy in `strategies`: what it names, and the rest plain, as `_PLAIN` is.

        Prompts, limits of the text, device and weights are those of this section.

        Raises:
            ValueError: with a line for each mistake, which names the strategy.
        """
        whole, sections, mistakes = {**_PLAIN, **self.model_dump(include=set(_KEPT))}, dict[str, Self](), list[str]()
        for name, changes in self.strategies.items():
            place = f"{self.name()}.strategies.{name}"
            if not isinstance(changes, dict):
                mistakes.append(f"{place}: must be a mapping of parameters, got {changes!r}")
                continue
            mistakes += [f"{place}.{key}: is the same for all strategies" for key in _SHARED if key in changes]
            try:
                sections[name] = self.parse(whole | {k: v for k, v in changes.items() if k not in _SHARED})
            except ValueError as error:
                mistakes += str(error).replace(f"{self.name()}.", f"{place}.").splitlines()
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return sections

    def settings(self) -> dict[str, Any]:
        """How texts are written, without what they continue and where it is computed."""
        return self.model_dump(exclude={"prompts", "device", "strategies"})
