"""Parameters of what is shown of a run."""

from typing import Annotated

from pydantic import Field

from lm.config.base import Section


class ObserveConfig(Section):
    """How a run is watched and drawn. Nothing here changes a model, and nothing here trains one again."""

    log_every: Annotated[int, Field(ge=1)]
    tensorboard: bool
