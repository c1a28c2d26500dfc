"""The training loop: draws batches, takes optimizer steps, validates, and can be stopped and resumed at any step."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.optim.schedule import learning_rate
from lm.tokens import TokenFile
from lm.training.backend import Backend, Measurement, State


@dataclass(frozen=True)
class TrainRow:
    """A row of the training curve: means over the steps since the row before; rate and norm of the last of them."""

    step: int
    tokens: int
    loss: float
    accuracy: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True)
class ValidRow:
    """A row of the validation curve."""

    step: int
    tokens: int
    loss: float
    accuracy: float


class DivergedError(ValueError):
    """The loss or the gradient is no longer a finite number."""


class Trainer:
    """Trains the model of a backend.

    What step s sees is a function of the seed and s: its batch, its learning rate, its dropout. So a run that is
    stopped and resumed takes the same steps, bit for bit, as one that never was.

    Losses are in nats a token.
    """

    def __init__(
        self, backend: Backend, train: TokenFile, valid: TokenFile, config: TrainConfig, context_length: int, seed: int
    ) -> None:
        self.backend, self.config, self.seed = backend, config, seed
        self.n_steps = config.n_steps(context_length)
        self.n_warmup_steps = config.n_warmup_steps(self.n_steps)
        if self.n_warmup_steps > self.n_steps:
            raise ValueError(
                f"train.warmup_steps: must be at most the run's {self.n_steps} steps, got {self.n_warmup_steps}"
            )
        self.tokens_per_step = config.batch_size * context_length
        self._windows = train.windows(context_length)
        self._valid = valid.windows(context_length).spread(config.valid_sequences)

        self.step = 0
        self.diverged = False
        self.train_rows: list[TrainRow] = []
        self.valid_rows: list[ValidRow] = []
        self._since_row: list[Measurement] = []  # of the steps since the last row
        # The weights with the lowest validation loss, or of the last validation, as `train.keep` says; before the first
        # validation the initial ones.
        self.kept_weights: dict[str, NDArray[np.float32]] = backend.weights()
        self.kept_step = 0

    @property
    def done(self) -> bool:
        """Whether all steps are taken, the run has diverged, or validation has not improved for `patience` rounds."""
        return self.step >= self.n_steps or self.diverged or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether the last `patience` validations brought no new best."""
        if self.config.patience is None or not self.valid_rows:
            return False
        best = min(range(len(self.valid_rows)), key=lambda i: self.valid_rows[i].loss)
        return len(self.valid_rows) - 1 - best >= self.config.patience

    def run(self) -> Iterator[float]:
        """Take the remaining steps, one each time the caller asks; yields the step's training loss.

        With `train.if_diverged: record` a run that diverges ends there, with the weights kept so far.

        Raises:
            DivergedError: with `train.if_diverged: fail`; the state before that step stands, or the one after it where
                validation is the first to see it.
        """
        try:
            yield from self._steps()
        except DivergedError:
            if self.config.if_diverged == "fail":
                raise
            self.diverged = True

    def _steps(self) -> Iterator[float]:
        while not self.done:
            measured, gradient_norm = self._take_step()
            self.step += 1
            self._since_row.append(measured)
            if self.step % self.config.valid_every == 0 or self.step == self.n_steps:
                self._validate()
            if self.step % self.config.log_every == 0 or self.done:
                self._add_train_row(gradient_norm)
            yield measured.loss

    def state(self) -> State:
        """Everything that the next step depends on, and the curves so far."""
        backend = self.backend.state()
        values = {
            "step": self.step,
            "train_rows": [asdict(row) for row in self.train_rows],
            "valid_rows": [asdict(row) for row in self.valid_rows],
            "since_row": self._since_row,
            "kept_step": self.kept_step,
            "backend": backend.values,
        }
        return State.joined(values, backend=backend.arrays, kept=self.kept_weights)

    def load_state(self, state: State) -> None:
        """Go on from a state that `state` gave."""
        values = state.values
        self.step = values["step"]
        self.train_rows = [TrainRow(**row) for row in values["train_rows"]]
        self.valid_rows = [ValidRow(**row) for row in values["valid_rows"]]
        self._since_row = [Measurement(*pair) for pair in values["since_row"]]
        self.kept_weights = state.part("kept")
        self.kept_step = values["kept_step"]
        self.backend.load_state(State(state.part("backend"), values["backend"]))

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(
            step,
            kind=self.config.schedule,
            peak=self.config.learning_rate,
            final=self.config.final_learning_rate,
            n_steps=self.n_steps,
            n_warmup_steps=self.n_warmup_steps,
            decay_fraction=self.config.decay_fraction,
        )

    def _take_step(self) -> tuple[Measurement, float]:
        """What one optimizer step measured, and its gradient's norm."""
        config, rate = self.config, self.learning_rate(self.step)
        batch = self._windows.draw(self.seed, self.step * config.batch_size, config.batch_size)
        measured, norm = self.backend.gradient(np.split(batch, config.accumulate), (self.seed, self.step))
        if not math.isfinite(measured.loss) or not (math.isfinite(norm) or self.backend.may_overflow):
            raise self._diverged(f"loss={measured.loss:g} and gradient norm={norm:g}", self.step + 1, rate)
        self.backend.update(rate)
        return measured, norm

    def _diverged(self, what: str, step: int, rate: float) -> DivergedError:
        return DivergedError(
            f"train: loss and gradient norm must stay finite, got {what} at step {step} with learning rate {rate:g}; "
            "lower train.learning_rate or set train.clip_norm"
        )

    def _add_train_row(self, gradient_norm: float) -> None:
        loss, accuracy = np.mean(self._since_row, axis=0).tolist()
        rate = self.learning_rate(self.step - 1)
        tokens = self.step * self.tokens_per_step
        self.train_rows.append(TrainRow(self.step, tokens, loss, accuracy, rate, gradient_norm))
        self._since_row = []

    def _validate(self) -> None:
        size = self.config.batch_size // self.config.accumulate
        batches = [self._valid[i : i + size] for i in range(0, len(self._valid), size)]
        measured = np.array([self.backend.measure(batch) for batch in batches])
        sizes = np.array([len(batch) for batch in batches])
        loss, accuracy = (float((sizes * column).sum() / sizes.sum()) for column in measured.T)
        if not math.isfinite(loss):
            raise self._diverged(f"validation loss={loss:g}", self.step, self.learning_rate(self.step - 1))
        best = not self.valid_rows or loss < min(row.loss for row in self.valid_rows)
        if best or self.config.keep == "last":
            self.kept_step = self.step
            self.kept_weights = self.backend.weights()
        self.valid_rows.append(ValidRow(self.step, self.step * self.tokens_per_step, loss, accuracy))
