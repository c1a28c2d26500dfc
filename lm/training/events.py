"""TensorBoard event files, for watching a run. They hold times and the name of the host, so they are never outs."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.training.trainer import Trainer

_FLUSH_S = 5  # the longest time before a step can be seen


class EventLog:
    """Writes the rows of a trainer's curves to a folder that `tensorboard --logdir` reads."""

    def __init__(self, path: Path, trainer: Trainer) -> None:
        # Imported here because TensorBoard takes longer to load than everything else, and few runs use it.
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(path), flush_secs=_FLUSH_S)
        # In a resumed run, TensorBoard must forget what an earlier process wrote about the steps from here on.
        self._add(trainer.step + 1, session_log=SessionLog(status=SessionLog.START))
        self._n_steps, self._n_valid = len(trainer.step_rows), len(trainer.valid_rows)

    def write(self, trainer: Trainer) -> None:
        """Write the rows that have come since the last call."""
        for group, rows in (
            ("train", trainer.step_rows[self._n_steps :]),
            ("valid", trainer.valid_rows[self._n_valid :]),
        ):
            for row in rows:
                values = asdict(row)
                step = values.pop("step")
                scalars = [
                    {"tag": f"{name}/{group}", "simple_value": value}
                    for name, value in values.items()
                    if not math.isnan(value)
                ]
                self._add(step, summary={"value": scalars})
        self._n_steps, self._n_valid = len(trainer.step_rows), len(trainer.valid_rows)

    def close(self) -> None:
        """Write everything to the disk."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))
