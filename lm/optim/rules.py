"""How an optimizer treats each parameter, the same in every backend."""

from typing import NamedTuple

from lm.config.train import TrainConfig
from lm.formats.parameters import ParameterSpec


class UpdateRule(NamedTuple):
    """How one parameter is updated.

    `orthogonal`: by Muon's orthogonalised momentum instead of AdamW. `rate_scale`: the factor of the learning rate.
    `parts`: the numbers of rows that are a matrix of their own for Muon; empty if the whole matrix is one.
    """

    orthogonal: bool = False
    weight_decay: float = 0.0
    rate_scale: float = 1.0
    parts: tuple[int, ...] = ()


def update_rule(spec: ParameterSpec, config: TrainConfig) -> UpdateRule:
    """The rule of a parameter, by its role.

    Weight decay applies to matrices only, never to norms and biases. Muon updates the hidden matrices. AdamW updates
    the embeddings and the head, because they are tables of vectors (Jordan 2024,
    https://kellerjordan.github.io/posts/muon/).

    With `model.base_width` the rates depend on the width, so that a step changes the output of a layer by the same
    amount at every width (Yang et al. 2022, appendix B, table 8, https://arxiv.org/abs/2203.03466). AdamW and Adam
    change each entry by about the rate. A product with a hidden matrix adds up d_model of these changes, so its rate is
    scaled by 1/d_model. Muon changes a matrix by an orthogonal matrix times 0.2 sqrt(d_model) (see `lm.optim.muon`), so
    its rate is scaled by 1/sqrt(d_model). SGD's steps are as large as the gradients. The gradients of hidden matrices
    already have the right size. All other gradients shrink with 1/d_model, so their rate is scaled by d_model. Rate
    times weight decay, the share of a matrix that a step forgets, stays the same (Wang & Aitchison 2024,
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
    parts = tuple(spec.parts.values()) if orthogonal and config.muon_parts else ()
    return UpdateRule(orthogonal, config.weight_decay / rate_scale if is_matrix else 0.0, rate_scale, parts)
