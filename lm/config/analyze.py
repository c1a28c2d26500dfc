"""Parameters of the analysis."""

from typing import Annotated

from pydantic import Field

from lm.config.base import Section


class AnalyzeConfig(Section):
    """What the analysis looks at."""

    text: Annotated[str, Field(min_length=1)]
    n_documents: Annotated[int, Field(ge=2)]
    n_stories: Annotated[int, Field(ge=2)]
