"""Our own optimizers, SGD, Adam and AdamW. They use the parameter groups and the state of PyTorch's `Optimizer`."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cache
from inspect import unwrap
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

ParameterGroups = Iterable[dict[str, Any]]
Slots = dict[str, Any]  # what an optimizer keeps of a parameter, by name


class Pace(NamedTuple):
    """The numbers of an update that are different at every step: p = shrink * p + step_size * direction."""

    shrink: float | Tensor = 1.0
    step_size: float | Tensor = 0.0
    correction: float | Tensor = 1.0


@cache
def compiled_once(function: Callable[..., None]) -> Callable[..., None]:
    """The function, compiled for each combination of shapes."""
    return torch.compile(function, dynamic=False)


class Portion(NamedTuple):
    """Parameters that are updated together, and what the optimizer keeps of each."""

    group: dict[str, Any]
    params: list[Tensor]
    slots: list[Slots]


class PacedOptimizer(Optimizer):
    """An optimizer whose step has two halves: `pace` works on numbers, `apply` on tensors.

    `apply` always runs the same operations on the same tensors. So a GPU can replay it, while `pace` runs in Python.
    """

    _kept: tuple[tuple[bool, ...], list[Portion]] | None = None  # for the parameters that have gradients

    # PyTorch wraps these methods, to keep its compiler away from them. A call of a wrapper imports the compiler. This
    # takes longer than the training of a small model.
    add_param_group = unwrap(Optimizer.add_param_group)
    state_dict = unwrap(Optimizer.state_dict)
    zero_grad = unwrap(Optimizer.zero_grad)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        self.apply(self.pace())

    @torch.no_grad()
    def pace(self) -> list[Pace]:
        """Count a step. Returns its numbers, one entry for each portion of the parameters."""
        return [self._pace(*portion) for portion in self._portions()]

    @torch.no_grad()
    def apply(self, paces: Iterable[Sequence[float | Tensor]]) -> None:
        """Update every portion with its numbers."""
        for (group, params, slots), pace in zip(self._portions(), paces, strict=True):
            grads = [p.grad for p in params if p.grad is not None]
            self._apply(group, params, slots, grads, Pace(*pace))

    def compile(self, compiled: bool = True) -> None:
        """Fuse the operations of `apply`, or no longer. Compiled, it must get its numbers as tensors."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the state of an optimizer of this class."""
        unwrap(Optimizer.load_state_dict)(self, state_dict)
        self._kept = None

    @abstractmethod
    def _pace(self, group: dict[str, Any], params: list[Tensor], slots: list[Slots]) -> Pace:
        """Count a step of these parameters, with fresh state if they have none."""

    @abstractmethod
    def _apply(
        self, group: dict[str, Any], params: list[Tensor], slots: list[Slots], grads: list[Tensor], pace: Pace
    ) -> None: ...

    def _portions(self) -> list[Portion]:
        """The parameters that have a gradient, in lists of those that are updated together.

        The lists are kept until other parameters have gradients, because a GPU waits while `pace` runs.
        """
        updated = tuple(p.grad is not None for group in self.param_groups for p in group["params"])
        if self._kept is None or self._kept[0] != updated:
            self._kept = updated, list(self._new_portions())
        return self._kept[1]

    def _new_portions(self) -> Iterator[Portion]:
        for group in self.param_groups:
            together: dict[Hashable, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    together[self._kind(group, p)].append(p)
            for params in together.values():
                yield Portion(group, params, [self.state[p] for p in params])

    def _kind(self, group: dict[str, Any], p: Tensor) -> Hashable:
        """Parameters of a group and a kind are updated together.

        A GPU takes as many as have seen the same number of steps, in few kernels. A CPU takes one at a time, which then
        stays in its caches.
        """
        return id(p) if p.device.type == "cpu" else self.state[p].get("step")


class SGD(PacedOptimizer):
    """Stochastic gradient descent with momentum: v = momentum * v + g; p = p - lr * v (Sutskever et al. 2013).

    Nesterov's variant takes p - lr * (g + momentum * v): the gradient at the point to which the momentum is about to
    lead (section 2 of that paper). Weight decay is added to the gradient, g + weight_decay * p. Equal to
    `torch.optim.SGD`.
    """

    def __init__(
        self,
        params: ParameterGroups,
        lr: float,
        momentum: float,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})

    def _pace(self, group: dict[str, Any], params: list[Tensor], slots: list[Slots]) -> Pace:
        if group["momentum"]:
            for p, slot in zip(params, slots, strict=True):
                if not slot:
                    slot["velocity"] = torch.zeros_like(p)
        return Pace(step_size=-group["lr"])

    def _apply(
        self, group: dict[str, Any], params: list[Tensor], slots: list[Slots], grads: list[Tensor], pace: Pace
    ) -> None:
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        if group["momentum"]:
            velocities = [slot["velocity"] for slot in slots]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, grads)
            if group["nesterov"]:
                grads = list(torch._foreach_add(grads, velocities, alpha=group["momentum"]))
            else:
                grads = velocities
        torch._foreach_add_(params, torch._foreach_mul(grads, pace.step_size))


class Adam(PacedOptimizer):
    """Adam (Kingma & Ba 2014, algorithm 1, https://arxiv.org/abs/1412.6980).

    Weight decay is added to the gradient (L2 regularisation). Equal to `torch.optim.Adam`.
    """

    decoupled_weight_decay = False

    def __init__(
        self, params: ParameterGroups, lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._move = _move

    def compile(self, compiled: bool = True) -> None:
        """Fuse the operations on each tensor into one kernel, or no longer."""
        self._move = compiled_once(_move) if compiled else _move

    def _pace(self, group: dict[str, Any], params: list[Tensor], slots: list[Slots]) -> Pace:
        for p, slot in zip(params, slots, strict=True):
            if not slot:
                slot.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
            slot["step"] += 1
        beta1, beta2 = group["betas"]
        step = slots[0]["step"]
        shrink = 1 - group["lr"] * group["weight_decay"] if self.decoupled_weight_decay else 1.0
        # Both moments start at zero; dividing by 1 - beta^t undoes that bias.
        return Pace(shrink, -group["lr"] / (1 - beta1**step), 1 - beta2**step)

    def _apply(
        self, group: dict[str, Any], params: list[Tensor], slots: list[Slots], grads: list[Tensor], pace: Pace
    ) -> None:
        if group["weight_decay"] and not self.decoupled_weight_decay:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        means, squares = [slot["mean"] for slot in slots], [slot["square"] for slot in slots]
        beta1, beta2 = group["betas"]
        self._move(params, grads, means, squares, beta1, beta2, group["eps"], *tuple(pace))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, algorithm 2, https://arxiv.org/abs/1711.05101).

    Each step first shrinks the parameter by lr * weight_decay. Equal to `torch.optim.AdamW`.
    """

    decoupled_weight_decay = True


def _move(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    beta1: float,
    beta2: float,
    eps: float,
    shrink: float | Tensor,
    step_size: float | Tensor,
    correction: float | Tensor,
) -> None:
    """p = shrink * p + step_size * mean / (sqrt(square / correction) + eps), after both moments have taken g in."""
    torch._foreach_mul_(params, shrink)
    torch._foreach_lerp_(means, grads, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
    denominators = torch._foreach_div(squares, correction)
    torch._foreach_sqrt_(denominators)
    torch._foreach_add_(denominators, eps)
    torch._foreach_addcdiv_(params, torch._foreach_mul(means, step_size), denominators)
