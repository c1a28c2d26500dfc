"""From a training configuration to an optimizer, and the clipping of its gradients."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lm.config.train import TrainConfig
from lm.distributed.sharded_tensors import gathered
from lm.formats.parameters import Table
from lm.optim.muon import Muon
from lm.optim.optimizers import SGD, Adam, AdamW, PacedOptimizer
from lm.optim.rules import UpdateRule, update_rule


def build_optimizer(model: nn.Module, table: Table, config: TrainConfig) -> PacedOptimizer:
    """The optimizer of a configuration, with one group for all parameters that share a rule (`lm.optim.rules`)."""
    by_rule: dict[UpdateRule, list[nn.Parameter]] = defaultdict(list)
    for name, p in model.named_parameters():
        by_rule[update_rule(table[name], config)].append(p)
    groups = [{"params": parameters, **rule._asdict()} for rule, parameters in by_rule.items()]
    beta1, beta2 = config.betas
    match config.optimizer:
        case "sgd":
            return SGD(groups, config.learning_rate, config.momentum, config.nesterov)
        case "adam":
            return Adam(groups, config.learning_rate, (beta1, beta2), config.eps)
        case "adamw":
            return AdamW(groups, config.learning_rate, (beta1, beta2), config.eps)
        case "muon":
            dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
            return Muon(groups, config.learning_rate, config.momentum, (beta1, beta2), config.eps, dtype=dtype)


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """The L2 norm of all gradients taken as one vector. Gradients above `max_norm` are scaled down to it, in place.

    Pascanu et al. 2012, algorithm 1, https://arxiv.org/abs/1211.5063.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = gathered(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
    if max_norm is not None:
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
