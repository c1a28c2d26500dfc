"""What an optimizer does with which parameter, the same in every backend."""

from typing import NamedTuple

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig


class Role(NamedTuple):
    """How one parameter is updated.

    `orthogonal`: by Muon's orthogonalised momentum, not by AdamW. `rate_scale`: what the learning rate is multiplied
    with.
    """

    orthogonal: bool = False
    weight_decay: float = 0.0
    rate_scale: float = 1.0


def role_of(name: str, n_axes: int, config: TrainConfig, model_config: ModelConfig) -> Role:
    """The role of a parameter, by its name in a model file and its number of axes.

    Weight decay falls on matrices alone, never on norms and biases. Muon takes the matrices of the blocks; embeddings
    and head are tables of vectors, and stay with AdamW (Jordan 2024, https://kellerjordan.github.io/posts/muon/).

    With `model.base_width` rates follow the width, so that a step changes what a layer puts out by as much at any width
    (Yang et al. 2022, appendix B, table 8, https://arxiv.org/abs/2203.03466). AdamW and Adam move every entry by about
    the rate, and in the product with a hidden matrix d_model such entries add up: 1/d_model. Muon moves a matrix by an
    orthogonal one times 0.2 sqrt(d_model) (see `lm.optim.muon`), which leaves 1/sqrt(d_model). SGD's steps are as large
    as the gradients: those of hidden matrices are right as they are, all others shrink by 1/d_model. Rate times
    weight decay, the share of a matrix that a step forgets, stays the same (Wang & Aitchison 2024,
    https://arxiv.org/abs/2405.13698).
    """
    hidden = n_axes == 2 and name.startswith("blocks.")
    orthogonal = hidden and config.optimizer == "muon"
    rate_scale = 1.0
    if model_config.base_width is not None:
        wider = model_config.d_model / model_config.base_width
        if config.optimizer == "sgd":
            rate_scale = 1.0 if hidden else wider
        elif hidden:
            rate_scale = wider**-0.5 if orthogonal else 1 / wider
    return Role(orthogonal, config.weight_decay / rate_scale if n_axes >= 2 else 0.0, rate_scale)
