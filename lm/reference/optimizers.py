"""Optimizers on arrays: SGD, Adam, AdamW and Muon, and the clipping of gradients. The twins of `lm.optim`.

A step updates one parameter after another, in place, each by its own rule. The state of a parameter is a dictionary of
arrays that have the shape of the parameter.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lm.config.train import TrainConfig
from lm.formats.parameters import Table
from lm.optim.rules import UpdateRule, update_rule
from lm.reference.parameter import Array, Parameter

State = dict[str, NDArray[Any]]


class SGD:
    """v = momentum * v + g; p = p - lr * v (Sutskever et al. 2013), or Nesterov's p = p - lr * (g + momentum * v).

    Weight decay is added to the gradient, g + weight_decay * p.
    """

    def __init__(
        self, parameters: Sequence[Parameter], rules: Sequence[UpdateRule], momentum: float, nesterov: bool = False
    ) -> None:
        self.parameters, self.rules, self.n_steps = parameters, rules, 0
        self.momentum, self.nesterov = momentum, nesterov
        names = ["velocity"] if momentum else []
        self.states = [{name: np.zeros_like(p.value) for name in names} for p in parameters]

    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient."""
        self.n_steps += 1
        for p, rule, state in zip(self.parameters, self.rules, self.states, strict=True):
            grad = _gradient(p)
            if rule.weight_decay:
                grad = grad + rule.weight_decay * p.value
            if self.momentum:
                velocity = state["velocity"]
                velocity *= self.momentum
                velocity += grad
                grad = grad + self.momentum * velocity if self.nesterov else velocity
            p.value -= learning_rate * rule.rate_scale * grad


class Adam:
    """p = p - lr * m' / (sqrt(v') + eps) with running means m of g and v of g^2 (Kingma & Ba 2014, algorithm 1).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) correct the means, because both start at zero. Weight decay is
    added to the gradient (L2 regularisation). https://arxiv.org/abs/1412.6980
    """

    decoupled_weight_decay = False

    def __init__(
        self, parameters: Sequence[Parameter], rules: Sequence[UpdateRule], betas: tuple[float, float], eps: float
    ) -> None:
        self.parameters, self.rules, self.n_steps = parameters, rules, 0
        self.betas, self.eps = betas, eps
        self.states = [
            {name: np.zeros_like(p.value) for name in self._state_names(rule)}
            for p, rule in zip(parameters, rules, strict=True)
        ]

    def step(self, learning_rate: float) -> None:
        """Update every parameter by its gradient."""
        self.n_steps += 1
        for p, rule, state in zip(self.parameters, self.rules, self.states, strict=True):
            self._update(p.value, _gradient(p), state, rule, learning_rate * rule.rate_scale)

    def _state_names(self, rule: UpdateRule) -> tuple[str, ...]:
        return ("mean", "square")

    def _update(self, value: Array, grad: Array, state: State, rule: UpdateRule, learning_rate: float) -> None:
        beta1, beta2 = self.betas
        if rule.weight_decay and self.decoupled_weight_decay:
            value *= 1 - learning_rate * rule.weight_decay
        elif rule.weight_decay:
            grad = grad + rule.weight_decay * value
        mean, square = state["mean"], state["square"]
        mean += (1 - beta1) * (grad - mean)
        square *= beta2
        square += (1 - beta2) * np.square(grad)
        update = square / (1 - beta2**self.n_steps)
        np.sqrt(update, out=update)
        update += self.eps
        np.divide(mean, update, out=update)
        update *= learning_rate / (1 - beta1**self.n_steps)
        value -= update


class AdamW(Adam):
    """Adam with decoupled weight decay: each step first shrinks the parameter by lr * weight_decay.

    Loshchilov & Hutter 2017, algorithm 2, https://arxiv.org/abs/1711.05101.
    """

    decoupled_weight_decay = True


class Muon(AdamW):
    """p = p - lr * 0.2 * sqrt(max(rows, columns)) * U if the rule is orthogonal, otherwise AdamW.

    If the rule has `parts`, numbers of rows, each of these parts of p is a matrix of its own.

    M is the running mean of g. U is the Nesterov momentum, momentum * M + (1 - momentum) * g, made orthogonal. Weight
    decay is that of AdamW. https://kellerjordan.github.io/posts/muon/, https://arxiv.org/abs/2502.16982 (section 2.2)
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        rules: Sequence[UpdateRule],
        momentum: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        super().__init__(parameters, rules, betas, eps)
        self.momentum = momentum

    def _state_names(self, rule: UpdateRule) -> tuple[str, ...]:
        return ("momentum",) if rule.orthogonal else super()._state_names(rule)

    def _update(self, value: Array, grad: Array, state: State, rule: UpdateRule, learning_rate: float) -> None:
        if not rule.orthogonal:
            super()._update(value, grad, state, rule, learning_rate)
            return
        momentum = state["momentum"]
        momentum += (1 - self.momentum) * (grad - momentum)
        direction = grad + self.momentum * (momentum - grad)
        pieces = np.split(direction, np.cumsum(rule.parts)[:-1]) if rule.parts else [direction]
        value *= 1 - learning_rate * rule.weight_decay
        value -= learning_rate * np.concatenate([0.2 * max(p.shape) ** 0.5 * orthogonalised(p) for p in pieces])


def orthogonalised(matrix: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """About U V^T for a matrix U S V^T, by five rounds of X = a X + b (X X^T) X + c (X X^T)^2 X.

    The derivation is in docs/theory/optimizers.md, "Muon".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # so that X X^T has the smaller of the two sizes
    x = x / max(np.linalg.norm(x), 1e-7)  # then no singular value is above 1
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


Optimizer = SGD | Adam


def build_optimizer(parameters: Mapping[str, Parameter], table: Table, config: TrainConfig) -> Optimizer:
    """The optimizer of a configuration, which treats each parameter by its rule (`lm.optim.rules`)."""
    values = list(parameters.values())
    rules = [update_rule(table[name], config) for name in parameters]
    beta1, beta2 = config.betas
    match config.optimizer:
        case "sgd":
            return SGD(values, rules, config.momentum, config.nesterov)
        case "adam":
            return Adam(values, rules, (beta1, beta2), config.eps)
        case "adamw":
            return AdamW(values, rules, (beta1, beta2), config.eps)
        case "muon":
            return Muon(values, rules, config.momentum, (beta1, beta2), config.eps)


def clip_gradients(parameters: Iterable[Parameter], max_norm: float | None) -> float:
    """The L2 norm of all gradients as one vector. If it is above `max_norm`, they are scaled down to it, in place.

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
