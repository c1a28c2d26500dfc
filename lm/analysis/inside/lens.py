"""The logit lens: what the model would predict if it ended after a layer (nostalgebraist 2020,
https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens).

The final norm and the head read the residual stream, as they do at the end. What an early layer holds need not be
written for them to read; so a bad guess there does not say that the layer knows nothing.
"""

from jaxtyping import Float
from torch import Tensor

from lm.model.transformer import Transformer


def logit_lens(model: Transformer, residual: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
    """The logits that the end of the model makes of a residual stream: of the last one, the model's own logits."""
    return model.logits(model.final_norm(residual) * model.config.output_scale)
