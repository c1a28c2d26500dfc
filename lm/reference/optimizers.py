"""Optimizers on arrays: SGD, Adam and AdamW, and the clipping of gradients. The twins of `lm.optim`.

Updates happen in place, a parameter at a time. The state of a parameter is a dictionary of arrays of its shape.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.reference.parameter import Array, Parameter

State = dict[str, NDArray[Any]]


class SGD:
    """v = momentum * v + g; p = p - lr * v (Sutskever et al. 2013), or Nesterov's p = p - lr * (g + momentum * v).

    Weight decay is added to the gradient, g + weight_decay * p.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decays: Sequence[float],
        momentum: float,
        nesterov: bool = False,
    ) -> None:
        self.parameters, self.decays, self.n_steps = parameters, decays, 0
        self.momentum, self.nesterov = momentum, nesterov
        names = ["velocity"] if momentum else []
        self.states = [{name: np.zeros_like(p.value) for name in names} for p in parameters]

    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient."""
        self.n_steps += 1
        for p, decay, state in zip(self.parameters, self.decays, self.states, strict=True):
            grad = _gradient(p)
            if decay:
                grad = grad + decay * p.value
            if self.momentum:
                velocity = state["velocity"]
                velocity *= self.momentum
                velocity += grad
                grad = grad + self.momentum * velocity if self.nesterov else velocity
            p.value -= learning_rate * grad


class Adam:
    """p = p - lr * m' / (sqrt(v') + eps) with running means m of g and v of g^2 (Kingma & Ba 2014, algorithm 1).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) undo that both began at zero. Weight decay is added to the
    gradient (L2 regularisation). https://arxiv.org/abs/1412.6980
    """

    decoupled_weight_decay = False

    def __init__(
        self, parameters: Sequence[Parameter], decays: Sequence[float], betas: tuple[float, float], eps: float
    ) -> None:
        self.parameters, self.decays, self.n_steps = parameters, decays, 0
        self.betas, self.eps = betas, eps
        self.states = [{name: np.zeros_like(p.value) for name in ("mean", "square")} for p in parameters]

    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient."""
        self.n_steps += 1
        beta1, beta2 = self.betas
        step_size = learning_rate / (1 - beta1**self.n_steps)
        for p, decay, state in zip(self.parameters, self.decays, self.states, strict=True):
            grad = _gradient(p)
            if decay and self.decoupled_weight_decay:
                p.value *= 1 - learning_rate * decay
            elif decay:
                grad = grad + decay * p.value
            mean, square = state["mean"], state["square"]
            mean += (1 - beta1) * (grad - mean)
            square *= beta2
            square += (1 - beta2) * np.square(grad)
            update = square / (1 - beta2**self.n_steps)
            np.sqrt(update, out=update)
            update += self.eps
            np.divide(mean, update, out=update)
            update *= step_size
            p.value -= update


class AdamW(Adam):
    """Adam with decoupled weight decay: each step first shrinks the parameter by lr * weight_decay.

    Loshchilov & Hutter 2017, algorithm 2, https://arxiv.org/abs/1711.05101.
    """

    decoupled_weight_decay = True


Optimizer = SGD | Adam


def build_optimizer(parameters: Sequence[Parameter], config: TrainConfig) -> Optimizer:
    """The optimizer of a configuration. Weight decay falls on matrices alone, never on norms and biases."""
    decays = [config.weight_decay if p.value.ndim >= 2 else 0.0 for p in parameters]
    beta1, beta2 = config.betas
    match config.optimizer:
        case "sgd":
            return SGD(parameters, decays, config.momentum, config.nesterov)
        case "adam":
            return Adam(parameters, decays, (beta1, beta2), config.eps)
        case "adamw":
            return AdamW(parameters, decays, (beta1, beta2), config.eps)


def clip_gradients(parameters: Iterable[Parameter], max_norm: float | None) -> float:
    """The L2 norm of all gradients taken as one vector; above `max_norm` they are scaled down to it, in place.

    Pascanu et al. 2012, algorithm 1, https://arxiv.org/abs/1211.5063.
    """
    grads = [_gradient(p) for p in parameters]
    norm = math.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads))
    if max_norm is not None and norm > max_norm:
        for grad in grads:
            grad *= max_norm / (norm + 1e-6)
    return norm


def _gradient(p: Parameter) -> Array:
    assert p.grad is not None, "step before backward"
    return p.grad
