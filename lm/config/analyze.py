"""Parameters of the analysis."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from lm.config.base import Section


class AnalyzeConfig(Section):
    """What the analysis looks at."""

    text: Annotated[str, Field(min_length=1)]
    n_documents: Annotated[int, Field(ge=2)]
    n_stories: Annotated[int, Field(ge=2)]
    other_tokenizers: list[Annotated[str, Field(min_length=1)]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.other_tokenizers)) != len(self.other_tokenizers):
            raise self.wrong("other_tokenizers", f"must differ from each other, got {self.other_tokenizers}")
        return self
