"""Where a stage that trains keeps what is not a result: in folders at the repository's root, which git ignores."""

from lm.config.observe import ObserveConfig
from lm.training.run import RunFolders
from lm.training.saved_runs import FOLDER
from stages.support import Stage, repository_root


def run_folders(stage: Stage) -> RunFolders:
    """The folders of states, of timings and, if `observe.tensorboard` asks for them, of TensorBoard events."""
    root = repository_root()
    events = root / ".tensorboard" if stage.aside(ObserveConfig).tensorboard else None
    return RunFolders(states=root / FOLDER, timings=root / ".timings", events=events)
