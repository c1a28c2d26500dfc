"""TensorBoard event files hold the rows of the curves."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lm.training.build import build_backend
from lm.training.events import EventLog
from lm.training.source import Windows
from lm.training.trainer import Trainer
from tests.small import model_config, random_documents, train_config, write_tokens


def test_events_hold_every_row_of_the_curves(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, random_documents(20, 30, 50), vocab_size=50)
    config = train_config(steps=6, valid_every=3)
    backend = build_backend(config, model_config(), 50, 0)
    windows = Windows(tokens.ids, model_config().context_length)
    trainer = Trainer(backend, windows, windows, config, 0)
    log = EventLog(tmp_path / "events", trainer)
    for _ in trainer.run():
        log.write(trainer)
    log.close()

    events = EventAccumulator(str(tmp_path / "events")).Reload()
    train, valid = events.Scalars("loss/train"), events.Scalars("loss/valid")
    assert [event.step for event in train] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in valid] == [3, 6]
    # TensorBoard keeps float32.
    assert [event.value for event in train] == pytest.approx([row.loss for row in trainer.step_rows], rel=1e-6)
    assert [event.value for event in valid] == pytest.approx([row.loss for row in trainer.valid_rows], rel=1e-6)


def test_a_run_that_begins_again_takes_the_place_of_what_was_written(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path, random_documents(20, 30, 50), vocab_size=50)
    config = train_config(steps=4, valid_every=4)
    for seed in (0, 1):
        backend = build_backend(config, model_config(), 50, seed)
        windows = Windows(tokens.ids, 8)
        trainer = Trainer(backend, windows, windows, config, seed)
        log = EventLog(tmp_path / "events", trainer)
        for _ in trainer.run():
            log.write(trainer)
        log.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [1, 2, 3, 4]
    written = [event.value for event in events.Scalars("loss/train")]
    assert written == pytest.approx([row.loss for row in trainer.step_rows], rel=1e-6)
