"""From a training configuration to an optimizer, and the clipping of its gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lm.config.train import TrainConfig
from lm.optim.optimizers import SGD, Adam, AdamW


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer of a configuration. Weight decay falls on matrices alone, never on norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    beta1, beta2 = config.betas
    match config.optimizer:
        case "sgd":
            return SGD(groups, config.learning_rate, config.momentum, config.nesterov)
        case "adam":
            return Adam(groups, config.learning_rate, (beta1, beta2), config.eps)
        case "adamw":
            return AdamW(groups, config.learning_rate, (beta1, beta2), config.eps)


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """The L2 norm of all gradients taken as one vector; above `max_norm` they are scaled down to it, in place.

    Pascanu et al. 2012, algorithm 1, https://arxiv.org/abs/1211.5063.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if max_norm is not None:
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
    return norm
