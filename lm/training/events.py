"""TensorBoard event files. They hold clock and host, so they are for watching a run and never an artefact of it."""

from dataclasses import asdict
from pathlib import Path

from lm.training.trainer import Trainer


class EventLog:
    """Writes the rows of a trainer's curves to a folder that `tensorboard --logdir` reads."""

    def __init__(self, path: Path, trainer: Trainer) -> None:
        # Imported here: TensorBoard takes longer to load than the rest together, and few ask for it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(path), purge_step=trainer.step + 1)
        self._n_train, self._n_valid = len(trainer.train_rows), len(trainer.valid_rows)

    def write(self, trainer: Trainer) -> None:
        """Write the rows that have come since the last call."""
        for group, rows in (
            ("train", trainer.train_rows[self._n_train :]),
            ("valid", trainer.valid_rows[self._n_valid :]),
        ):
            for row in rows:
                values = asdict(row)
                step = values.pop("step")
                for name, value in values.items():
                    self._writer.add_scalar(f"{name}/{group}", value, step)
        self._n_train, self._n_valid = len(trainer.train_rows), len(trainer.valid_rows)
        self._writer.flush()
