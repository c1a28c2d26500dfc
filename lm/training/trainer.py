"""The training loop: draws batches, takes optimizer steps, validates, and can be stopped and resumed at any step."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.formats.parameters import size_of
from lm.optim.schedule import learning_rate
from lm.training.backend import Backend, State
from lm.training.batch import Batch
from lm.training.curves import StepRow, ValidRow, from_columns, to_columns
from lm.training.divergence import LARGEST_LOSS, has_diverged
from lm.training.source import Source

# When this many steps in a row diverge, the run has diverged for good.
_MAX_SKIPPED = 10
# The training loss that is reported at the end is the mean of this many steps.
_RECENT = 10


class DivergedError(ValueError):
    """Loss or gradient is no longer a finite number, or `has_diverged` by its validation loss, or the gradient is 0."""


class Trainer:
    """Trains the model of a backend.

    The batch, the learning rate and the dropout of step s depend only on the seed and on s. So a run that is stopped
    and resumed takes the same steps, bit for bit, as a run that is never stopped.

    Losses are in nats a token.
    """

    def __init__(self, backend: Backend, train: Source, valid: Source, config: TrainConfig, seed: int) -> None:
        assert train.context_length == valid.context_length, "both sources must have rows of one length"
        self.backend, self.config, self.seed = backend, config, seed
        self.n_steps = config.n_steps(train.context_length)
        self.n_warmup_steps = config.n_warmup_steps(self.n_steps)
        self._train = train
        parts = valid.spread(config.valid_sequences).split(config.part_size)
        if not any(part.weight for part in parts):
            raise ValueError("validation: the weights of its predictions must add up to more than 0, got 0")
        self._valid = [part for part in parts if part.weight]  # a part without weight has no mean

        self._drawer = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[list[Batch]]] | None = None

        self.step = 0
        self.skipped_steps: list[int] = []
        self.diverged = False
        self.computed: list[dict[str, Any]] = []  # what the steps are computed with, each entry from its `from_step` on
        self.step_rows: list[StepRow] = []
        self.valid_rows: list[ValidRow] = []
        # The weights with the lowest validation loss or of the last validation, as `keep` says. Before the first
        # validation they are the initial weights.
        self.kept_weights: dict[str, NDArray[np.float32]] = backend.weights()
        self.kept_step = 0
        self._has_gradient = False  # whether a step of this process had one

    @property
    def done(self) -> bool:
        """Whether all steps are taken, the run has diverged, or validation has not improved for `patience` rounds."""
        return self.step >= self.n_steps or self.diverged or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether none of the last `patience` validations has lowered the loss."""
        if self.config.patience is None or not self.valid_rows:
            return False
        best = min(range(len(self.valid_rows)), key=lambda i: self.valid_rows[i].loss)
        return len(self.valid_rows) - 1 - best >= self.config.patience

    def run(self) -> Iterator[float]:
        """Take the remaining steps, one each time the caller asks, and yield the training loss of each.

        With `if_diverged: record`, a run that diverges ends there, with the weights kept so far. With `skip`, it leaves
        out the steps that diverge.

        Raises:
            DivergedError: with `if_diverged: fail`; with `skip` after many such steps in a row. The trainer then has
                the state before that step. If only the validation diverged, it has the state after the last step.
        """
        try:
            yield from self._steps()
        except DivergedError:
            if self.config.if_diverged != "record":
                raise
            self.diverged = True

    def _steps(self) -> Iterator[float]:
        self._validate_if_due()  # due where the run was saved because this validation diverged
        while not self.done:
            row = self._take_step()
            self.step += 1
            self.step_rows.append(row)
            self._validate_if_due()
            yield row.loss

    def note_computed(self, facts: dict[str, Any]) -> list[str]:
        """Note what the next steps are computed with. Returns what differs from earlier steps: `threads 2, now 4`."""
        if self.done:  # no step follows
            return []
        self.computed = [entry for entry in self.computed if entry["from_step"] < self.step]
        if not self.computed or self.computed[-1] != {"from_step": self.computed[-1]["from_step"], **facts}:
            self.computed.append({"from_step": self.step, **facts})
        others = {name: [e[name] for e in self.computed if e[name] != value] for name, value in facts.items()}
        return [f"{name} {values[-1]}, now {facts[name]}" for name, values in others.items() if values]

    def state(self) -> State:
        """Everything that the next step depends on, and the curves so far. Later steps do not change it."""
        backend = self.backend.state()
        values = {
            "made_by": self._made_by(),
            "step": self.step,
            "kept_step": self.kept_step,
            "computed": [*self.computed],
            "skipped_steps": [*self.skipped_steps],
            "backend": backend.values,
        }
        steps, valid = to_columns(StepRow, self.step_rows), to_columns(ValidRow, self.valid_rows)
        return State.joined(values, backend=backend.arrays, kept=self.kept_weights, steps=steps, valid=valid)

    def load_state(self, state: State) -> None:
        """Continue from a state that `state` returned.

        Raises:
            ValueError: when a run of another backend, optimizer or model has saved it.
        """
        values, here = state.values, self._made_by()
        there: dict[str, Any] = values["made_by"]
        for name in here | there:
            if here.get(name) != there.get(name):
                raise ValueError(f"state: its {name} must be {here.get(name)}, got {there.get(name)}")
        self.step = values["step"]
        self.step_rows = from_columns(StepRow, state.part("steps"))
        self.valid_rows = from_columns(ValidRow, state.part("valid"))
        self.kept_weights = state.part("kept")
        self.kept_step = values["kept_step"]
        self.skipped_steps = values["skipped_steps"]
        self.computed = values["computed"]
        self.backend.load_state(State(state.part("backend"), values["backend"]))

    def _made_by(self) -> dict[str, Any]:
        """What a state must share with the run that continues from it, by name."""
        shapes = {f"shape of {name}": list(spec.shape) for name, spec in self.backend.table.items()}
        return {"backend": self.config.backend, "optimizer": self.config.optimizer, **shapes}

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

    def tokens(self, step: int | None = None) -> int:
        """The tokens that the first `step` steps train on. Without `step`: the tokens so far."""
        return self.config.n_sequences(self.step if step is None else step) * self._train.context_length

    def summary(self) -> dict[str, Any]:
        """The figures of the run so far, as JSON holds them."""
        # A run that diverges before its first validation has none.
        kept_loss = next((row.loss for row in self.valid_rows if row.step == self.kept_step), None)
        return {
            "n_parameters": size_of(self.backend.table),
            "steps": self.step,
            "tokens": self.tokens(),
            "train_loss": self.recent_loss,
            "valid_loss": kept_loss,
            "kept_step": self.kept_step,
            "stopped_early": self.stopped_early,
            "skipped_steps": len(self.skipped_steps),
            "diverged": self.diverged,
        }

    @property
    def recent_loss(self) -> float | None:
        """The mean loss of the last ten steps, except those that were left out; None if all were left out."""
        losses = [row.loss for row in self.step_rows[-_RECENT:] if not math.isnan(row.loss)]
        return sum(losses) / len(losses) if losses else None

    def _take_step(self) -> StepRow:
        """What one optimizer step measured; NaN if the step was left out."""
        rate = self.learning_rate(self.step)
        measured, norm = self.backend.gradient(self._batch(), (self.seed, self.step))
        if norm == 0 and measured.loss > 0:
            self._check_gradient(measured.loss)
            self._skip_or_fail(f"the gradient must not be 0 while the loss is {measured.loss:g},", rate)
        elif math.isfinite(measured.loss) and (math.isfinite(norm) or self.backend.may_overflow):
            self.backend.update(rate)
            self._has_gradient = True
            return StepRow(self.step + 1, self.tokens(self.step + 1), measured.loss, measured.accuracy, rate, norm)
        else:
            got = f"loss={measured.loss:g} and gradient norm={norm:g}"
            self._skip_or_fail(f"loss and gradient norm must stay finite, got {got}", rate)
        return StepRow(self.step + 1, self.tokens(self.step + 1), math.nan, math.nan, rate, math.nan)

    def _batch(self) -> list[Batch]:
        """The parts of this step's batch. Those of the next batch are drawn while this step is computed."""
        step, drawn = self._next or (None, None)
        parts = drawn.result() if drawn and step == self.step else self._draw(self.step)
        self._next = self.step + 1, self._drawer.submit(self._draw, self.step + 1)
        return parts

    def _draw(self, step: int) -> list[Batch]:
        first, size = self.config.n_sequences(step), self.config.part_size
        return self._train.draw(self.seed, first, self.config.n_parts(step) * size).split(size)

    def _check_gradient(self, loss: float) -> None:
        """Raise ValueError when no step of this process had a gradient: then it is not computed as it should be.

        Later, a step that was too large may have left a model without gradient.
        """
        section = self.config.name()
        if not self._has_gradient:
            rule = f"the gradient must not be 0 while the loss is {loss:g}, at step {self.step + 1}"
            raise ValueError(f"{section}: {rule}; try {section}.compile=false or another version of torch")

    def _skip_or_fail(self, rule: str, rate: float) -> None:
        last = range(self.step - _MAX_SKIPPED + 1, self.step)
        if self.config.if_diverged != "skip" or self.skipped_steps[-len(last) :] == list(last):
            raise self._diverged(rule, self.step + 1, rate)
        self.skipped_steps.append(self.step)

    def _diverged(self, rule: str, step: int, rate: float) -> DivergedError:
        section = self.config.name()
        return DivergedError(
            f"{section}: {rule} at step {step} with learning rate {rate:g}; lower {section}.learning_rate or set "
            f"{section}.clip_norm"
        )

    def _validate_if_due(self) -> None:
        due = self.step > 0 and (self.step % self.config.valid_every == 0 or self.step == self.n_steps)
        if due and not (self.valid_rows and self.valid_rows[-1].step == self.step):
            self._validate()

    def _validate(self) -> None:
        measured = np.array([self.backend.measure(batch) for batch in self._valid])
        # Counted in contexts, so that the weights of windows are whole numbers.
        weights = np.array([batch.weight for batch in self._valid]) / self._train.context_length
        loss, accuracy = (float((weights * column).sum() / weights.sum()) for column in measured.T)
        if has_diverged(loss):
            rule = f"validation loss must stay below {LARGEST_LOSS} nats a token, got {loss:g}"
            raise self._diverged(rule, self.step, self.learning_rate(self.step - 1))
        best = not self.valid_rows or loss < min(row.loss for row in self.valid_rows)
        if best or self.config.keep == "last":
            self.kept_step = self.step
            self.kept_weights = self.backend.weights()
        self.valid_rows.append(ValidRow(self.step, self.tokens(), loss, accuracy))
