"""Parameters of the Transformer."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section

Size = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Sizes:
    """Sizes that a configuration may leave to be derived, as numbers."""

    n_kv_heads: int  # key/value heads, a divisor of the query heads
    d_ff: int  # width of the feed-forward layer
    look_back_heads: int  # heads of the first block that begin by looking back


class ModelConfig(Section):
    """The shape of a Transformer and its ablation switches. The vocabulary size is that of the tokens."""

    context_length: Annotated[int, Field(ge=2)]
    d_model: Size
    n_layers: Size
    n_heads: Size
    n_kv_heads: Size | None
    d_ff: Size | None
    feed_forward: Literal["swiglu", "gelu", "gelu_tanh", "silu", "relu2"]
    norm: Literal["rmsnorm", "layernorm", "none"]
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5  # of model files before this parameter was here
    norm_position: Literal["pre", "post"]
    positions: Literal["rope", "learned", "sinusoidal", "alibi", "none"]
    rope_theta: Annotated[float, Field(gt=1)]
    window: Size | None
    qk_norm: bool
    tie_embeddings: bool
    zero_init: bool
    look_back_heads: Annotated[int, Field(ge=0)] | None = 0  # as above
    base_width: Size | None
    bias: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @property
    def d_head(self) -> int:
        """The width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def sizes(self) -> Sizes:
        """The sizes that null leaves to be derived.

        As many key/value heads as query heads. A `d_ff` that keeps the parameter count of every kind of feed-forward
        layer near 8 d_model^2: 4 d_model for two matrices; for SwiGLU's three, 8/3 d_model to the nearest multiple of
        64 (Shazeer 2020, https://arxiv.org/abs/2002.05202). With rotary positions, two heads that begin by
        looking back.
        """
        d_ff = max(64, round(8 / 3 * self.d_model / 64) * 64) if self.feed_forward == "swiglu" else 4 * self.d_model
        n_kv_heads, look_back_heads = self.n_kv_heads or self.n_heads, self.look_back_heads
        if look_back_heads is None:
            look_back_heads = min(2, n_kv_heads) if self.positions == "rope" else 0
        return Sizes(n_kv_heads, self.d_ff or d_ff, look_back_heads)

    @property
    def embedding_scale(self) -> float:
        """What token embeddings are multiplied with: sqrt(d_model) if sines are added to them, otherwise 1.

        Vaswani et al. 2017, section 3.4. The sines are of size 1, and embeddings start much smaller. With `base_width`
        it is sqrt(base_width), so that the sum of the two has the same sizes at every width.
        """
        return math.sqrt(self.base_width or self.d_model) if self.positions == "sinusoidal" else 1.0

    @property
    def output_scale(self) -> float:
        """What the final hidden state is multiplied with before the head: 1, or base_width / d_model (muP)."""
        return 1.0 if self.base_width is None else self.base_width / self.d_model

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.d_model % self.n_heads:
            raise self.wrong("d_model", f"must be a multiple of n_heads={self.n_heads}, got {self.d_model}")
        if self.n_heads % self.sizes.n_kv_heads:
            raise self.wrong("n_kv_heads", f"must divide n_heads={self.n_heads}, got {self.n_kv_heads}")
        if self.positions == "rope" and self.d_head % 2:
            raise self.wrong("positions", f"'rope' needs an even d_model / n_heads, got {self.d_head}")
        if self.look_back_heads and self.positions != "rope":
            raise self.wrong("look_back_heads", f"needs model.positions=rope, got {self.look_back_heads}")
        if self.sizes.look_back_heads > self.sizes.n_kv_heads:
            limit = f"must be at most the {self.sizes.n_kv_heads} key/value heads"
            raise self.wrong("look_back_heads", f"{limit}, got {self.look_back_heads}")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise self.wrong("positions", f"'sinusoidal' needs an even d_model, got {self.d_model}")
        return self
