"""Parameters of how a run is shown."""

from typing import Annotated

from pydantic import Field

from lm.config.base import Section


class ObserveConfig(Section):
    """How a run is watched and drawn. A change here neither changes a model nor trains it again."""

    log_every: Annotated[int, Field(ge=1)]
    tensorboard: bool
