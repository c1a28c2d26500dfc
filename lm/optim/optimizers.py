"""Our own optimizers, SGD, Adam and AdamW. They use the parameter groups and the state of PyTorch's `Optimizer`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

ParameterGroups = Iterable[dict[str, Any]]


class SGD(Optimizer):
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group, p, grad in _with_gradients(self.param_groups):
            if group["weight_decay"]:
                grad = grad.add(p, alpha=group["weight_decay"])
            if group["momentum"]:
                state = self.state[p]
                if not state:
                    state["velocity"] = torch.zeros_like(p)
                velocity = state["velocity"].mul_(group["momentum"]).add_(grad)
                grad = grad.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
            p.add_(grad, alpha=-group["lr"])


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014, algorithm 1, https://arxiv.org/abs/1412.6980).

    Weight decay is added to the gradient (L2 regularisation). Equal to `torch.optim.Adam`.
    """

    decoupled_weight_decay = False

    def __init__(
        self, params: ParameterGroups, lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            self._update(group)

    def _update(self, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for _, p, grad in _with_gradients([group]):
            state = self.state[p]
            if not state:
                state.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
            state["step"] += 1

            if group["weight_decay"] and self.decoupled_weight_decay:
                p.mul_(1 - group["lr"] * group["weight_decay"])
            elif group["weight_decay"]:
                grad = grad.add(p, alpha=group["weight_decay"])
            mean = state["mean"].lerp_(grad, 1 - beta1)
            square = state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            # Both moments start at zero; dividing by 1 - beta^t undoes that bias.
            step_size = group["lr"] / (1 - beta1 ** state["step"])
            denominator = square.div(1 - beta2 ** state["step"]).sqrt_().add_(group["eps"])
            p.addcdiv_(mean, denominator, value=-step_size)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, algorithm 2, https://arxiv.org/abs/1711.05101).

    Each step first shrinks the parameter by lr * weight_decay. Equal to `torch.optim.AdamW`.
    """

    decoupled_weight_decay = True


def _with_gradients(groups: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], Tensor, Tensor]]:
    return ((group, p, p.grad) for group in groups for p in group["params"] if p.grad is not None)
