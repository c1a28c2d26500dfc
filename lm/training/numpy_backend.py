"""Training in NumPy, with gradients by hand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.distributed.team import Team
from lm.reference.loss import CrossEntropy, accuracy
from lm.reference.optimizers import build_optimizer, clip_gradients
from lm.reference.transformer import Transformer
from lm.training.backend import Computed, Measurement, State

# Where a run diverges numbers overflow. The trainer sees it in the loss and says so in words of its own.
_without_warnings = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class NumpyBackend:
    """A model and an optimizer of `lm.reference`."""

    may_overflow = False
    team = Team()
    computed = Computed(
        {"library": f"numpy {np.__version__}", "device": "cpu", "precision": "fp32"},
        [f"numpy {np.__version__} on cpu", "fp32"],
    )

    def __init__(self, model: Transformer, config: TrainConfig) -> None:
        self.model, self._config = model, config
        self._parameters = list(model.parameters.values())
        self._optimizer = build_optimizer(model.parameters, model.table, config)
        self._loss = CrossEntropy()

    @_without_warnings
    def gradient(self, parts: Sequence[NDArray[np.int64]], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """Loss and accuracy of a batch given in parts, and the norm of its gradient before clipping."""
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(noise)))
        for p in self._parameters:
            p.grad = None
        measured = []
        for part in parts:
            part_measured, losses = self._measure(part, generator)
            self.model.backward(self._loss.backward(np.full_like(losses, 1 / (losses.size * len(parts)))))
            measured.append(part_measured)
        mean = Measurement(*np.mean(measured, axis=0).tolist())
        return mean, clip_gradients(self._parameters, self._config.clip_norm)

    @_without_warnings
    def update(self, learning_rate: float) -> None:
        """Take the optimizer's step."""
        self._optimizer.step(learning_rate)

    @_without_warnings
    def measure(self, windows: NDArray[np.int64]) -> Measurement:
        """Loss and accuracy of windows without dropout."""
        return self._measure(windows, None)[0]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights."""
        return {name: p.value.astype(np.float32) for name, p in self.model.parameters.items()}

    def state(self) -> State:
        """Weights and optimizer."""
        weights = {name: p.value for name, p in self.model.parameters.items()}
        moments = {
            f"{index}/{name}": array
            for index, slots in enumerate(self._optimizer.states)
            for name, array in slots.items()
        }
        return State.joined({"n_steps": self._optimizer.n_steps}, weights=weights, moments=moments)

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        for name, array in state.part("weights").items():
            self.model.parameters[name].value[...] = array
        for key, array in state.part("moments").items():
            index, name = key.split("/")
            self._optimizer.states[int(index)][name][...] = array
        self._optimizer.n_steps = state.values["n_steps"]

    def _measure(
        self, windows: NDArray[np.int64], generator: np.random.Generator | None
    ) -> tuple[Measurement, NDArray[np.floating]]:
        """Means over a batch, and its losses one by one."""
        inputs, targets = windows[:, :-1], windows[:, 1:]
        logits = self.model.forward(inputs, generator)
        share_right = accuracy(logits, targets)
        losses = self._loss.forward(logits, targets)  # overwrites the logits
        return Measurement(float(losses.mean()), share_right), losses
