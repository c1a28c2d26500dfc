"""Training with PyTorch, on any of its devices, in one process or several."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from lm.config.train import TrainConfig
from lm.distributed.parallel import holds_back_gradients, parallelise
from lm.distributed.sharded_tensors import gathered, laid_out_like
from lm.distributed.team import Team
from lm.model.transformer import Transformer
from lm.optim.build import build_optimizer, clip_gradients
from lm.system.devices import Precision, autocast, matmul_dtype, memory_errors
from lm.training.backend import ComputeReport, Measurement, State
from lm.training.batch import Batch, total_weight
from lm.training.compile_check import compiled_fault, update_fault
from lm.training.compute import choose_compute, plain_instead, replays, set_up
from lm.training.loss import chunk_bytes, linear_cross_entropy
from lm.training.replayed import Replayed

# With a learning rate as small as this, float32 may round an update away.
_ROUNDED_AWAY = 1e-7


class TorchBackend:
    """A model of `lm.model` and an optimizer of `lm.optim`.

    Each process of a team works on its own rows of every part of a batch. Measurements and gradients are means over
    the processes. The rows of each process may have another weight. So each process divides its sums by the weight of
    the whole batch, divided by the number of processes; all processes know both numbers. Then the means are exact.
    """

    def __init__(
        self,
        model: Transformer,
        config: TrainConfig,
        device: torch.device,
        team: Team | None = None,
        end_id: int | None = None,
    ) -> None:
        """`end_id`: the token before each document, if attention shall not look beyond it."""
        self.team = team or Team()
        choices, words = choose_compute(config, model.config, model.vocab_size, device, self.team.size)
        config = config.model_copy(update={"precision": choices.precision})  # what `auto` stands for here
        set_up(choices)
        self.model, self.model_config, self.table = model, model.config, model.table
        self._config, self._device = config, device
        if choices.attention == "flex":
            model.to(device)
        # On a CPU the compiler takes long, and PyTorch's own kernels for the loss are faster than compiled ones. On a
        # GPU, kernels that reach over the borders of blocks gain more.
        by_block = choices.compile and device.type == "cpu"
        model.compute_with(attention=choices.attention, recompute=choices.recompute, compile_blocks=by_block)
        objective = _Objective(model, device, choices.precision, end_id)
        if choices.compile:
            if not by_block:
                objective.compile(dynamic=False)  # for each batch size, as `Transformer.compute_with` says
            shape = config.part_size // self.team.size, model.config.context_length
            if not choices.shard and (
                fault := compiled_fault(objective.to(device), shape, model.vocab_size, choices.precision)
            ):
                choices, words = plain_instead(choices, words, fault)
                model.compute_with(attention=choices.attention, recompute=choices.recompute)
                objective = _Objective(model, device, choices.precision, end_id)
        self.compute_report = ComputeReport(choices.facts(), words)
        self._parallel = parallelise(objective, model.blocks, self.team, config.shard, device)
        self._optimizer = build_optimizer(model, model.table, config)
        self._replays = replays(choices, model.config)
        # float16 gradients underflow unless the loss is scaled up first (arXiv:1710.03740, section 3.2).
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self._unscaled = False
        self._gradient: Callable[..., Tensor] = self._compute_gradient
        self._apply: Callable[[Tensor], Tensor] | None = None
        self._record_anew()
        self._update_tried = False  # whether the compiled update has been compared with the plain one
        self._moves = False  # whether an update is known to change the weights

    @property
    def may_overflow(self) -> bool:
        """Whether float16 still searches its loss scale: a step that overflows is skipped and lowers the scale."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    @memory_errors()
    def gradient(self, parts: Sequence[Batch], noise: tuple[int, int]) -> tuple[Measurement, float]:
        """Loss and accuracy of a batch given in parts, and the norm of its gradient before clipping."""
        # Each process drops different activations. The seed is hashed because the generator of the CPU uses only its
        # 32 low bits.
        if self.model_config.dropout:
            noise_of_rank = (*noise, self.team.rank) if self.team.rank else noise
            torch.manual_seed(int(np.random.SeedSequence(noise_of_rank).generate_state(1, np.uint64)[0]))
        weight = torch.tensor(total_weight(parts) / self.team.size, dtype=torch.float32)
        self.model.train()
        tensors = [tensor for part in parts for tensor in self._tensors(self._own_rows(part))]
        # One tensor, so that a step waits for the GPU only once.
        mean_loss, mean_accuracy, norm = self._gradient(weight, *tensors).tolist()
        return Measurement(mean_loss, mean_accuracy), norm

    @memory_errors()
    def update(self, learning_rate: float) -> None:
        """Take the optimizer's step."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_scale"]
        # Looked at once, because it costs a copy. float16 may leave the first steps out.
        looks = not (self._moves or self.may_overflow) and learning_rate > _ROUNDED_AWAY
        before = [p.detach().clone() for p in self.model.parameters()] if looks else None
        if self._apply is not None:
            paces = torch.tensor(self._optimizer.pace())
            if not self._update_tried:
                self._try_compiled_update(paces)
            self._apply(paces)
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._unscaled = False
        if before is not None:
            self._moves = not all(map(torch.equal, map(gathered, before), map(gathered, self.model.parameters())))
            if not self._moves:
                name = self._config.name()
                raise ValueError(
                    f"{name}: an update must change the weights, with learning rate {learning_rate:g} it changed none; "
                    f"try a higher {name}.learning_rate, {name}.compile=false or another version of torch"
                )

    def _compute_gradient(self, weight: Tensor, *arguments: Tensor) -> Tensor:
        """Loss, accuracy and the norm of the gradient before clipping, (3,).

        `arguments` are inputs, targets and weights of each part of a batch. `weight` is what sums are divided by.
        """
        weight, *tensors = self._to_device(weight, *arguments)
        self._forget_gradients()
        measured = torch.zeros(2, device=self._device)
        for first in range(0, len(tensors), 3):
            with holds_back_gradients(self._parallel, first + 3 < len(tensors)):
                loss, right = self._parallel(*tensors[first : first + 3])
                self._scaler.scale(loss / weight).backward()
            measured += torch.stack([loss.detach(), right]) / weight
        if self._unscaled:  # the step before was left out, but GradScaler expects an update after every gradient
            self._scaler.update(self._scaler.get_scale())
        self._scaler.unscale_(self._optimizer)
        self._unscaled = True
        norm = clip_gradients(self.model.parameters(), self._config.clip_norm)
        return torch.cat([self.team.mean(measured), norm[None]])

    def _forget_gradients(self) -> None:
        """Gradients that are replayed stay at their place in memory."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if self._replays and gradients:
            torch._foreach_zero_(gradients)
        else:
            self._optimizer.zero_grad()

    @torch.no_grad()
    def _try_compiled_update(self, paces: Tensor) -> None:
        """Compile the optimizer's update if it then does what the plain one does."""
        self._update_tried = True
        rows = [row.unbind() for row in paces.to(self._device)]
        try:
            with memory_errors():
                fault = update_fault(self._optimizer, rows, [*self.model.parameters(), *self._moments()])
        except MemoryError:
            fault = "there is not enough memory to compare it with the plain one"
            self._optimizer.compile(False)
        if fault:
            warnings.warn(f"the compiled update of the optimizer is not taken: {fault}", stacklevel=2)

    def _apply_update(self, paces: Tensor) -> Tensor:
        self._optimizer.apply([row.unbind() for row in paces])
        return paces

    def _record_anew(self) -> None:
        """Forget what was recorded, because the optimizer's tensors have moved."""
        if self._replays:
            parameters = list(self.model.parameters())
            self._gradient = Replayed(self._compute_gradient, self._device, lambda: [_gradient(p) for p in parameters])
            self._apply = Replayed(self._apply_update, self._device, lambda: [*parameters, *self._moments()])

    @memory_errors()
    @torch.no_grad()
    def measure(self, batch: Batch) -> Measurement:
        """Loss and accuracy of a batch in evaluation mode."""
        self.model.eval()
        if len(batch) % self.team.size:  # the rows do not divide: every process measures all of them
            rows, weight = batch, batch.weight
        else:
            rows, weight = self._own_rows(batch), batch.weight / self.team.size
        sums = torch.stack(self._parallel(*self._to_device(*self._tensors(rows))))
        return Measurement(*self.team.mean(sums / weight).tolist())

    @memory_errors()
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights, in float32."""
        return {name: array.astype(np.float32, copy=False) for name, array in _arrays(self.model.state_dict()).items()}

    @memory_errors()
    def state(self) -> State:
        """A copy of weights, optimizer and loss scale, in the form of a single process."""
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
        """Continue from a state, which a team of any size may have saved."""
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
        self._record_anew()

    def _moments(self) -> list[Tensor]:
        return [
            value for slots in self._optimizer.state.values() for value in slots.values() if isinstance(value, Tensor)
        ]

    def _own_rows(self, batch: Batch) -> Batch:
        """The rows of this process."""
        assert len(batch) % self.team.size == 0, f"{len(batch)} rows for {self.team.size} processes"
        n = len(batch) // self.team.size
        return batch.rows(self.team.rank * n, (self.team.rank + 1) * n)

    def _tensors(self, batch: Batch) -> list[Tensor]:
        """Inputs, targets and weights, each (batch, seq)."""
        tensors = [torch.from_numpy(array) for array in (batch.inputs, batch.targets, batch.weights)]
        return [_pinned(tensor) for tensor in tensors] if self._device.type == "cuda" else tensors

    def _to_device(self, *tensors: Tensor) -> list[Tensor]:
        return [tensor.to(self._device, non_blocking=self._device.type == "cuda") for tensor in tensors]


def _pinned(tensor: Tensor) -> Tensor:
    """A copy that a GPU takes over while it works, and Python too: it is contiguous and does not move in memory."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)


def _gradient(p: nn.Parameter) -> Tensor:
    assert p.grad is not None
    return p.grad


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Whole tensors, copied to arrays."""
    return {name: gathered(tensor).detach().to("cpu", copy=True).numpy() for name, tensor in tensors.items()}


class _Objective(nn.Module):
    """Model and loss as one module, because DDP and FSDP wrap a module."""

    def __init__(self, model: Transformer, device: torch.device, precision: Precision, end_id: int | None) -> None:
        super().__init__()
        self._end_id = end_id
        self.model, self.model_config, self.table = model, model.config, model.table
        self._device, self._precision = device, precision
        self._chunk_bytes = chunk_bytes(device)

    def forward(
        self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"], weights: Float[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The weighted sums of losses and of right predictions."""
        documents = None if self._end_id is None else (inputs == self._end_id).cumsum(1)
        with autocast(self._device, self._precision):
            hidden = self.model.hidden(inputs, documents=documents)
        return linear_cross_entropy(
            hidden, self.model.head_weight, targets, weights, matmul_dtype(self._precision), self._chunk_bytes
        )
