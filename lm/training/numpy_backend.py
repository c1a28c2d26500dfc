"""Training in NumPy, with gradients by hand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.distributed.team import Team
from lm.reference.blas import blas_threads
from lm.reference.loss import CrossEntropy
from lm.reference.optimizers import build_optimizer, clip_gradients
from lm.reference.transformer import Transformer
from lm.system.processor import processor_name
from lm.training.backend import ComputeReport, Measurement, State
from lm.training.batch import Batch, total_weight

# When a run diverges, numbers overflow. The trainer sees that in the loss and reports it itself.
_without_warnings = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class NumpyBackend:
    """A model and an optimizer of `lm.reference`."""

    may_overflow = False
    team = Team()

    def __init__(self, model: Transformer, config: TrainConfig, end_id: int | None = None) -> None:
        """`end_id`: the token before each document, if attention shall not look beyond it."""
        self.model, self.model_config, self.table = model, model.config, model.table
        self._config, self._end_id = config, end_id
        self._parameters = list(model.parameters.values())
        self._optimizer = build_optimizer(model.parameters, model.table, config)
        self._loss = CrossEntropy()
        threads = blas_threads()
        self.compute_report = ComputeReport(
            {
                "library": f"numpy {np.__version__}",
                "device": "cpu",
                "processor": processor_name(),
                "precision": "fp32",
                "threads": threads,
            },
            [f"numpy {np.__version__} on cpu", "fp32", *([] if threads is None else [f"BLAS threads: {threads}"])],
        )

    @_without_warnings
    def gradient(self, parts: Sequence[Batch], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """Loss and accuracy of a batch given in parts, and the norm of its gradient before clipping."""
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(noise)))
        for p in self._parameters:
            p.grad = None
        total, loss, accuracy = total_weight(parts), 0.0, 0.0
        for part in parts:
            measured = self._measure(part, total, generator)
            self.model.backward(
                self._loss.backward(part.weights.astype(self.model.dtype) / self.model.dtype.type(total))
            )
            loss, accuracy = loss + measured.loss, accuracy + measured.accuracy
        return Measurement(loss, accuracy), clip_gradients(self._parameters, self._config.clip_norm)

    @_without_warnings
    def update(self, learning_rate: float) -> None:
        """Take the optimizer's step."""
        self._optimizer.step(learning_rate)

    @_without_warnings
    def measure(self, batch: Batch) -> Measurement:
        """Loss and accuracy of a batch without dropout."""
        return self._measure(batch, batch.weight, None)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights."""
        return {name: p.value.astype(np.float32) for name, p in self.model.parameters.items()}

    def state(self) -> State:
        """A copy of weights and optimizer."""
        weights = {name: p.value.copy() for name, p in self.model.parameters.items()}
        moments = {
            f"{index}/{name}": array.copy()
            for index, slots in enumerate(self._optimizer.states)
            for name, array in slots.items()
        }
        return State.joined({"n_steps": self._optimizer.n_steps}, weights=weights, moments=moments)

    def load_state(self, state: State) -> None:
        """Continue from a state."""
        for name, array in state.part("weights").items():
            self.model.parameters[name].value[...] = array
        for key, array in state.part("moments").items():
            index, name = key.split("/")
            self._optimizer.states[int(index)][name][...] = array
        self._optimizer.n_steps = state.values["n_steps"]

    def _measure(self, part: Batch, total: float, generator: np.random.Generator | None) -> Measurement:
        """What a part adds to the means of a batch whose weights add up to `total`."""
        documents = None if self._end_id is None else (part.inputs == self._end_id).cumsum(1)
        logits = self.model.forward(part.inputs, generator, documents=documents)
        right = (logits.argmax(-1) == part.targets) * part.weights
        losses = self._loss.forward(logits, part.targets) * part.weights  # overwrites the logits
        return Measurement(float(losses.sum() / losses.dtype.type(total)), float(right.sum()) / total)
