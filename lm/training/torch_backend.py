"""Training with PyTorch, on any device it has, by one process or several."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from lm.config.train import TrainConfig
from lm.distributed.parallel import holds_back_gradients, share_out
from lm.distributed.sharded_tensors import gathered, laid_out_like
from lm.distributed.team import Team
from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.system.devices import Precision, autocast, matmul_dtype, memory_errors
from lm.training.backend import Computed, Measurement, State
from lm.training.compute import choose_compute, set_up
from lm.training.loss import linear_cross_entropy


class TorchBackend:
    """A model of `lm.model` and an optimizer of `lm.optim`.

    Each process of a team works on its share of every part of a batch; what is measured is the mean over all of them,
    and so is the gradient.
    """

    def __init__(self, model: Transformer, config: TrainConfig, device: torch.device, team: Team | None = None) -> None:
        self.team = team or Team()
        compute, words = choose_compute(config, model.config, model.vocab_size, device, self.team.size)
        self.computed = Computed(compute.facts(), words)
        set_up(compute)
        self.model = model
        self._config, self._device = config, device
        model.compute_with(stored=compute.attention == "stored", recompute=compute.recompute)
        self._objective = _Objective(model, device, config.precision)
        if compute.compile:
            # For each size of batch by itself: which sizes came before would decide, and a resumed run has seen others.
            self._objective.compile(dynamic=False)
        self._shared = share_out(self._objective, model.blocks, self.team, config.shard, device)
        self._optimizer = build_optimizer(model, model.table, config)
        # float16 gradients underflow unless the loss is scaled up first (arXiv:1710.03740, section 3.2).
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self._unscaled = False

    @property
    def may_overflow(self) -> bool:
        """Whether float16's loss scale is still tried out: a step that overflows is skipped and lowers the scale."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    @memory_errors()
    def gradient(self, parts: Sequence[NDArray[np.int64]], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """Loss and accuracy of a batch given in parts, and the norm of its gradient before clipping."""
        # Each process drops out other activations. Hashed, for the generator of the CPU takes no more than the 32 low
        # bits of a seed.
        noise_of_rank = (*noise, self.team.rank) if self.team.rank else noise
        torch.manual_seed(int(np.random.SeedSequence(noise_of_rank).generate_state(1, np.uint64)[0]))
        measured = torch.zeros(2, device=self._device)
        self.model.train()
        self._optimizer.zero_grad()
        for i, part in enumerate(parts):
            with holds_back_gradients(self._shared, i < len(parts) - 1):
                loss, accuracy = self._shared(*self._to_device(self._share(part)))
                self._scaler.scale(loss / len(parts)).backward()
            measured += torch.stack([loss.detach(), accuracy]) / len(parts)
        if self._unscaled:  # the step before was left out, where GradScaler expects an update for every gradient
            self._scaler.update(self._scaler.get_scale())
        self._scaler.unscale_(self._optimizer)
        self._unscaled = True
        norm = clip_gradients(self.model.parameters(), self._config.clip_norm)
        # One list: a GPU is waited for once a step.
        mean_loss, mean_accuracy, norm_before = torch.cat([self.team.mean(measured), norm[None]]).tolist()
        return Measurement(mean_loss, mean_accuracy), norm_before

    @memory_errors()
    def update(self, learning_rate: float) -> None:
        """Take the optimizer's step."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_scale"]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._unscaled = False

    @memory_errors()
    @torch.no_grad()
    def measure(self, windows: NDArray[np.int64]) -> Measurement:
        """Loss and accuracy of windows in evaluation mode."""
        self.model.eval()
        # Windows that do not come in equal shares are measured by every process.
        share = windows if len(windows) % self.team.size else self._share(windows)
        loss, accuracy = self._shared(*self._to_device(share))
        return Measurement(*self.team.mean(torch.stack([loss, accuracy])).tolist())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights, in float32."""
        return {name: array.astype(np.float32) for name, array in _arrays(self.model.state_dict()).items()}

    @memory_errors()
    def state(self) -> State:
        """Weights, optimizer and loss scale, as they are without a team."""
        entries = {
            f"{index}/{name}": value
            for index, slots in self._optimizer.state_dict()["state"].items()
            for name, value in slots.items()
        }
        moments = _arrays({key: value for key, value in entries.items() if isinstance(value, Tensor)})
        counts = {key: value for key, value in entries.items() if key not in moments}
        weights = _arrays(self.model.state_dict())
        values = {"counts": counts, "scaler": self._scaler.state_dict()}
        return State.joined(values, weights=weights, moments=moments)

    @memory_errors()
    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Go on from a state, of whatever team."""
        weights, parameters = state.part("weights"), dict(self.model.named_parameters())
        for name, p in parameters.items():
            p.copy_(laid_out_like(p, torch.from_numpy(weights[name])))
        by_index = [p for group in self._optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Any]] = {}
        for key, value in (state.part("moments") | state.values["counts"]).items():
            index, name = key.split("/")
            if isinstance(value, np.ndarray):
                value = laid_out_like(by_index[int(index)], torch.from_numpy(value))
            slots.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": slots})
        self._scaler.load_state_dict(state.values["scaler"])

    def _share(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's rows."""
        n = len(windows) // self.team.size
        return windows[self.team.rank * n : (self.team.rank + 1) * n]

    def _to_device(self, windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (batch, context_length)."""
        ids = torch.from_numpy(windows)
        if self._device.type == "cuda":  # from pinned memory the copy goes on beside the GPU's work
            ids = ids.pin_memory().to(self._device, non_blocking=True)
        ids = ids.to(self._device)
        return ids[:, :-1], ids[:, 1:]


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Whole tensors as arrays; live ones, where a tensor is a plain one on the CPU."""
    return {name: gathered(tensor).detach().cpu().numpy() for name, tensor in tensors.items()}


class _Objective(nn.Module):
    """What is trained for, as one module: what shares a model out over processes wraps that."""

    def __init__(self, model: Transformer, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self._device, self._precision = device, precision

    def forward(
        self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean loss and accuracy of a batch."""
        with autocast(self._device, self._precision):
            hidden = self.model.hidden(inputs)
        return linear_cross_entropy(hidden, self.model.head_weight, targets, matmul_dtype(self._precision))
