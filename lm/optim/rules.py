"""What an optimizer does with which parameter, the same in every backend."""

from typing import NamedTuple

from lm.config.train import TrainConfig
from lm.formats.parameters import ParameterSpec


class UpdateRule(NamedTuple):
    """How one parameter is updated.

    `orthogonal`: by Muon's orthogonalised momentum, not by AdamW. `rate_scale`: the factor of the learning rate.
    """

    orthogonal: bool = False
    weight_decay: float = 0.0
    rate_scale: float = 1.0


def update_rule(spec: ParameterSpec, config: TrainConfig) -> UpdateRule:
    """The rule of a parameter, by its role.

    Weight decay falls on matrices alone, never on norms and biases. Muon takes the hidden matrices; embeddings and head
    are tables of vectors, and stay with AdamW (Jordan 2024, https://kellerjordan.github.io/posts/muon/).

    With `model.base_width` rates follow the width, so that a step changes the output of a layer by as much at any width
    (Yang et al. 2022, appendix B, table 8, https://arxiv.org/abs/2203.03466). AdamW and Adam move every entry by about
    the rate, and in the product with a hidden matrix d_model such entries add up: 1/d_model. Muon moves a matrix by an
    orthogonal one times 0.2 sqrt(d_model) (see `lm.optim.muon`), which leaves 1/sqrt(d_model). SGD's steps are as large
    as the gradients: those of hidden matrices are right as they are, all others shrink by 1/d_model. Rate times weight
    decay, the share of a matrix that a step forgets, stays the same (Wang & Aitchison 2024,
    https://arxiv.org/abs/2405.13698).
    """
    hidden = spec.role == "hidden"
    orthogonal = hidden and config.optimizer == "muon"
    rate_scale = 1.0
    if config.optimizer == "sgd":
        rate_scale = 1.0 if hidden else spec.wider
    elif hidden:
        rate_scale = spec.wider**-0.5 if orthogonal else 1 / spec.wider
    is_matrix = spec.role in ("hidden", "embedding", "head")
    return UpdateRule(orthogonal, config.weight_decay / rate_scale if is_matrix else 0.0, rate_scale)
