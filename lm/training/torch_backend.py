"""Training with PyTorch, on any device it has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lm.config.train import TrainConfig
from lm.devices import autocast, memory_errors
from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.training.backend import Measurement, State
from lm.training.loss import cross_entropy


class TorchBackend:
    """A model of `lm.model` and an optimizer of `lm.optim`."""

    def __init__(self, model: Transformer, config: TrainConfig, device: torch.device) -> None:
        self.model = model.to(device)
        self._config, self._device = config, device
        self._precision = config.matmul_precision
        self._optimizer = build_optimizer(model, config)
        # float16 gradients underflow unless the loss is scaled up first (arXiv:1710.03740, section 3.2).
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision == "fp16")
        self._measure_batch = torch.compile(self._measure) if config.compile else self._measure

    @property
    def may_overflow(self) -> bool:
        """Whether float16's loss scale is still tried out: a step that overflows is skipped and lowers the scale."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    @memory_errors()
    def gradient(self, parts: Sequence[NDArray[np.int64]], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """Loss and accuracy of a batch given in parts, and the norm of its gradient before clipping."""
        # Hashed, for the generator of the CPU takes no more than the 32 low bits of a seed.
        torch.manual_seed(int(np.random.SeedSequence(noise).generate_state(1, np.uint64)[0]))
        total_loss = total_accuracy = 0.0
        self.model.train()
        self._optimizer.zero_grad()
        for part in parts:
            loss, accuracy = self._measure_batch(*self._to_device(part))
            self._scaler.scale(loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            total_loss += loss.item() / len(parts)
            total_accuracy += accuracy.item() / len(parts)
        self._scaler.unscale_(self._optimizer)
        norm = clip_gradients(self.model.parameters(), self._config.clip_norm).item()
        return Measurement(total_loss, total_accuracy), norm

    @memory_errors()
    def update(self, learning_rate: float) -> None:
        """Take the optimizer's step."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._scaler.step(self._optimizer)
        self._scaler.update()

    @memory_errors()
    @torch.no_grad()
    def measure(self, windows: NDArray[np.int64]) -> Measurement:
        """Loss and accuracy of windows in evaluation mode."""
        self.model.eval()
        loss, accuracy = self._measure_batch(*self._to_device(windows))
        return Measurement(loss.item(), accuracy.item())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights, in float32."""
        return {name: weight.float().cpu().numpy().copy() for name, weight in self.model.state_dict().items()}

    def state(self) -> State:
        """Weights, optimizer and loss scale."""
        entries = {
            f"{index}/{name}": value
            for index, slots in self._optimizer.state_dict()["state"].items()
            for name, value in slots.items()
        }
        moments = {key: value.cpu().numpy() for key, value in entries.items() if isinstance(value, Tensor)}
        counts = {key: value for key, value in entries.items() if key not in moments}
        weights = {name: weight.cpu().numpy() for name, weight in self.model.state_dict().items()}
        values = {"counts": counts, "scaler": self._scaler.state_dict()}
        return State.joined(values, weights=weights, moments=moments)

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self.model.load_state_dict({name: torch.from_numpy(array) for name, array in state.part("weights").items()})
        moments = {key: torch.from_numpy(array) for key, array in state.part("moments").items()}
        slots: dict[int, dict[str, Any]] = {}
        for key, value in (moments | state.values["counts"]).items():
            index, name = key.split("/")
            slots.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": slots})
        self._scaler.load_state_dict(state.values["scaler"])

    def _measure(
        self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean loss and accuracy of a batch."""
        with autocast(self._device, self._precision):
            logits = self.model(inputs)
        loss = cross_entropy(logits, targets).mean()
        # In half precision argmax has no vectorised kernel on the CPU: 6.8 ms against 1.6 for 4 million logits.
        predicted = logits.detach().float().argmax(-1)
        return loss, (predicted == targets).float().mean()

    def _to_device(self, windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (batch, context_length)."""
        ids = torch.from_numpy(windows).to(self._device)
        return ids[:, :-1], ids[:, 1:]
