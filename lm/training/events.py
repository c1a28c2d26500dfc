"""TensorBoard event files. They hold clock and host, so they are for watching a run and never an artefact of it."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.training.trainer import Trainer


class EventLog:
    """Writes the rows of a trainer's curves to a folder that `tensorboard --logdir` reads."""

    def __init__(self, path: Path, trainer: Trainer) -> None:
        # Imported here: TensorBoard takes longer to load than the rest together, and few ask for it.
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(path))
        # Of a run that goes on, what an earlier process wrote of the steps from here on is to be forgotten.
        self._add(trainer.step + 1, session_log=SessionLog(status=SessionLog.START))
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
                scalars = [{"tag": f"{name}/{group}", "simple_value": value} for name, value in values.items()]
                self._add(step, summary={"value": scalars})
        self._n_train, self._n_valid = len(trainer.train_rows), len(trainer.valid_rows)
        self._writer.flush()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))
