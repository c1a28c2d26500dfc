"""The training loop: draws batches, takes optimizer steps, validates, and can be stopped and resumed at any step."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lm.config.train import TrainConfig
from lm.devices import autocast
from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.optim.schedule import learning_rate
from lm.tokens import TokenFile
from lm.training.loss import cross_entropy


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


class Trainer:
    """Trains a model on one device.

    What step s sees is a function of the seed and s: its batch, its learning rate, its dropout. So a run that is
    stopped and resumed takes the same steps, bit for bit, as one that never was.

    Losses are in nats a token.
    """

    def __init__(
        self,
        model: Transformer,
        train: TokenFile,
        valid: TokenFile,
        config: TrainConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        context_length = model.config.context_length
        self.model = model.to(device)
        self.config, self.seed, self.device = config, seed, device
        self.n_steps = config.n_steps(context_length)
        self.n_warmup_steps = config.n_warmup_steps(self.n_steps)
        if self.n_warmup_steps > self.n_steps:
            raise ValueError(
                f"train.warmup_steps: must be at most the run's {self.n_steps} steps, got {self.n_warmup_steps}"
            )
        self.tokens_per_step = config.batch_size * context_length
        self._windows = train.windows(context_length)
        self._valid = valid.windows(context_length).spread(config.valid_sequences)
        self._optimizer = build_optimizer(model, config)
        # float16 gradients underflow unless the loss is scaled up first (arXiv:1710.03740, section 3.2).
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self._measure_batch = torch.compile(self._measure) if config.compile else self._measure

        self.step = 0
        self.train_rows: list[TrainRow] = []
        self.valid_rows: list[ValidRow] = []
        self._since_row: list[tuple[float, float]] = []  # loss and accuracy of the steps since the last row
        # The weights with the lowest validation loss, or of the last validation, as `train.keep` says.
        self.kept_weights: dict[str, Tensor] = {}
        self.kept_step = 0

    @property
    def done(self) -> bool:
        """Whether all steps are taken, or validation has not improved for `patience` rounds."""
        return self.step >= self.n_steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether the last `patience` validations brought no new best."""
        if self.config.patience is None or not self.valid_rows:
            return False
        best = min(range(len(self.valid_rows)), key=lambda i: self.valid_rows[i].loss)
        return len(self.valid_rows) - 1 - best >= self.config.patience

    def run(self) -> Iterator[float]:
        """Take the remaining steps, one each time the caller asks; yields the step's training loss.

        Raises:
            ValueError: when the loss or the gradient is no longer a finite number; the state before that step stands.
        """
        while not self.done:
            loss, accuracy, gradient_norm = self._take_step()
            self.step += 1
            self._since_row.append((loss, accuracy))
            if self.step % self.config.valid_every == 0 or self.step == self.n_steps:
                self._validate()
            if self.step % self.config.log_every == 0 or self.done:
                self._add_train_row(gradient_norm)
            yield loss

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, and the curves so far."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "train_rows": [asdict(row) for row in self.train_rows],
            "valid_rows": [asdict(row) for row in self.valid_rows],
            "since_row": self._since_row,
            "kept_weights": self.kept_weights,
            "kept_step": self.kept_step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.train_rows = [TrainRow(**row) for row in state["train_rows"]]
        self.valid_rows = [ValidRow(**row) for row in state["valid_rows"]]
        self._since_row = state["since_row"]
        self.kept_weights = state["kept_weights"]
        self.kept_step = state["kept_step"]

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

    def _take_step(self) -> tuple[float, float, float]:
        """Loss, accuracy and gradient norm of one optimizer step."""
        config = self.config
        torch.manual_seed(self.seed * 2**31 + self.step)  # dropout's randomness
        rate = self.learning_rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

        batch = self._windows.draw(self.seed, self.step * config.batch_size, config.batch_size)
        total_loss = total_accuracy = 0.0
        self.model.train()
        for part in np.split(batch, config.accumulate):
            loss, accuracy = self._measure_batch(*self._to_device(part))
            self._scaler.scale(loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
            total_loss += loss.item() / config.accumulate
            total_accuracy += accuracy.item() / config.accumulate

        self._scaler.unscale_(self._optimizer)
        gradient_norm = clip_gradients(self.model.parameters(), config.clip_norm).item()
        self._check_finite(total_loss, gradient_norm, rate)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        return total_loss, total_accuracy, gradient_norm

    def _measure(
        self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean loss and accuracy of a batch."""
        with autocast(self.device, self.config.precision):
            logits = self.model(inputs)
        loss = cross_entropy(logits, targets).mean()
        # In half precision argmax has no vectorised kernel on the CPU: 6.8 ms against 1.6 for 4 million logits.
        predicted = logits.detach().float().argmax(-1)
        return loss, (predicted == targets).float().mean()

    def _check_finite(self, loss: float, gradient_norm: float, rate: float) -> None:
        # The scaler of float16 tries scales out; it skips a step whose gradient overflows and lowers the scale.
        overflow_is_expected = self._scaler.is_enabled() and self._scaler.get_scale() > 1
        if math.isfinite(loss) and (math.isfinite(gradient_norm) or overflow_is_expected):
            return
        raise ValueError(
            f"train: loss and gradient norm must stay finite, got loss={loss:g} and gradient norm={gradient_norm:g} "
            f"at step {self.step + 1} with learning rate {rate:g}; lower train.learning_rate or set train.clip_norm"
        )

    def _add_train_row(self, gradient_norm: float) -> None:
        loss, accuracy = np.mean(self._since_row, axis=0).tolist()
        rate = self.learning_rate(self.step - 1)
        tokens = self.step * self.tokens_per_step
        self.train_rows.append(TrainRow(self.step, tokens, loss, accuracy, rate, gradient_norm))
        self._since_row = []

    @torch.no_grad()
    def _validate(self) -> None:
        self.model.eval()
        batch_size = self.config.batch_size // self.config.accumulate
        measured = [
            (len(part), *(value.item() for value in self._measure_batch(*self._to_device(part))))
            for part in _split(self._valid, batch_size)
        ]
        sizes, losses, accuracies = (np.array(column) for column in zip(*measured, strict=True))
        loss, accuracy = (float((sizes * values).sum() / sizes.sum()) for values in (losses, accuracies))
        best = not self.valid_rows or loss < min(row.loss for row in self.valid_rows)
        if best or self.config.keep == "last":
            self.kept_step = self.step
            self.kept_weights = {name: weight.cpu().clone() for name, weight in self.model.state_dict().items()}
        self.valid_rows.append(ValidRow(self.step, self.step * self.tokens_per_step, loss, accuracy))

    def _to_device(self, windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (batch, context_length)."""
        ids = torch.from_numpy(windows).to(self.device)
        return ids[:, :-1], ids[:, 1:]


def _split(windows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (windows[i : i + size] for i in range(0, len(windows), size))
