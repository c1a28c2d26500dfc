"""Where a stage that trains keeps what is no result: everything lies at the repository's root and is ignored by git."""

from lm.config.observe import ObserveConfig
from lm.training.run import RunFolders
from stages.support import Stage, repository_root


def run_folders(stage: Stage) -> RunFolders:
    """The folders of states, timings and, where `observe.tensorboard` asks for them, TensorBoard events."""
    root = repository_root()
    events = root / ".tensorboard" if stage.aside(ObserveConfig).tensorboard else None
    return RunFolders(states=root / ".resume", timings=root / ".timings", events=events)
