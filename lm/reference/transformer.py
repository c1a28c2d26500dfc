"""The Transformer language model in NumPy, the twin of `lm.model.transformer`.

Every layer has `forward`, which remembers what its derivative needs, and `backward`, which takes the gradient of the
loss with respect to its output, adds those of its parameters to them, and returns that of its input. Reverse-mode
differentiation is then no more than calling `backward` in the reverse order of `forward` (docs/theory/notation.md).
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lm.config.model import ModelConfig
from lm.formats.model_file import Weights, check_weights
from lm.formats.parameters import parameter_table
from lm.reference.attention import Attention
from lm.reference.cache import KeyValueCache
from lm.reference.dropout import Dropout
from lm.reference.feed_forward import FeedForward
from lm.reference.linear import Embedding, Linear
from lm.reference.norm import NoNorm, build_norm
from lm.reference.parameter import Parameter, Parameters
from lm.reference.positions import Positions


class Block:
    """Attention, then feed-forward, each with a residual connection.

    `pre` norm is x + f(norm(x)), `post` norm(x + f(x)). A sum hands its gradient to both of its terms.
    """

    def __init__(self, config: ModelConfig, parameters: Parameters, layer: int, positions: Positions) -> None:
        name = f"blocks.{layer}"
        self.pre = config.norm_position == "pre"
        self.attention_norm = build_norm(config.norm, parameters, f"{name}.attention_norm")
        self.attention = Attention(config, parameters, f"{name}.attention", layer, positions)
        self.feed_forward_norm = build_norm(config.norm, parameters, f"{name}.feed_forward_norm")
        self.feed_forward = FeedForward(config, parameters, f"{name}.feed_forward")
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Float[np.ndarray, "batch seq d_model"],
        generator: np.random.Generator | None,
        cache: KeyValueCache | None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The residual stream after this block."""
        if self.pre:
            x = x + self.attention.forward(self.attention_norm.forward(x), generator, cache)
            y = self.feed_forward.forward(self.feed_forward_norm.forward(x))
            return x + self.dropout.forward(y, generator)
        x = self.attention_norm.forward(x + self.attention.forward(x, generator, cache))
        y = self.feed_forward.forward(x)
        return self.feed_forward_norm.forward(x + self.dropout.forward(y, generator))

    def backward(self, dy: Float[np.ndarray, "batch seq d_model"]) -> Float[np.ndarray, "batch seq d_model"]:
        """The gradient of x."""
        if self.pre:
            dy = dy + self.feed_forward_norm.backward(self.feed_forward.backward(self.dropout.backward(dy)))
            return dy + self.attention_norm.backward(self.attention.backward(dy))
        dy = self.feed_forward_norm.backward(dy)
        dy = dy + self.feed_forward.backward(self.dropout.backward(dy))
        dy = self.attention_norm.backward(dy)
        return dy + self.attention.backward(dy)


class Transformer:
    """A decoder-only Transformer of these weights, in their precision: float32 or float64.

    Training changes the arrays in place.

    Raises:
        ValueError: when the weights are not those of a model of this configuration.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        vocab_size = len(weights.get("embedding.weight", ()))
        check_weights(weights, config, vocab_size)
        self.config, self.table = config, parameter_table(config, vocab_size)
        self.parameters = {name: Parameter(weight) for name, weight in weights.items()}
        self.dtype: np.dtype[Any] = weights["embedding.weight"].dtype
        self.positions = Positions(config, self.dtype)
        self.embedding = Embedding(self.parameters["embedding.weight"])
        self.position_embedding = self.parameters.get("position_embedding.weight")
        self.dropout = Dropout(config.dropout)
        self.blocks = [Block(config, self.parameters, layer, self.positions) for layer in range(config.n_layers)]
        pre = config.norm_position == "pre"
        self.final_norm = build_norm(config.norm, self.parameters, "final_norm") if pre else NoNorm()
        self.head = Linear(self.parameters, "embedding" if config.tie_embeddings else "head")

    def forward(
        self,
        ids: Int[np.ndarray, "batch seq"],
        generator: np.random.Generator | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[np.ndarray, "batch seq vocab"]:
        """Logits of the token that follows each position.

        A generator makes dropout happen, as in training. With a cache, ids continue the text that the cache holds.
        """
        return self.head.forward(self.hidden(ids, generator, cache))

    def hidden(
        self,
        ids: Int[np.ndarray, "batch seq"],
        generator: np.random.Generator | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The last residual stream, normalised and scaled: all of the model but its head."""
        start = cache.length if cache else 0
        end = start + ids.shape[1]
        assert end <= self.config.context_length, f"{end} positions in a context of {self.config.context_length}"
        x = self.embedding.forward(ids)
        if self.position_embedding is not None:
            x += self.position_embedding.value[start:end]
        if self.positions.sinusoidal is not None:
            x += self.positions.sinusoidal[start:end]
        x = self.dropout.forward(x, generator)
        for block in self.blocks:
            x = block.forward(x, generator, cache)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.final_norm.forward(x) * self.dtype.type(self.config.output_scale)

    def backward(self, dlogits: Float[np.ndarray, "batch seq vocab"]) -> None:
        """Add to every parameter's gradient, from that of the logits which `forward` gave last."""
        dx = self.final_norm.backward(self.head.backward(dlogits) * self.dtype.type(self.config.output_scale))
        for block in reversed(self.blocks):
            dx = block.backward(dx)
        dx = self.dropout.backward(dx)
        if self.position_embedding is not None:
            grad = np.zeros_like(self.position_embedding.value)
            grad[: dx.shape[1]] = dx.sum(0)
            self.position_embedding.add_grad(grad)
        self.embedding.backward(dx)

    def reader(self, batch_size: int) -> "CachedReader":
        """A reader of as many texts, for generation."""
        return CachedReader(self, batch_size)


class CachedReader:
    """Reads texts side by side; what is read is kept in a key/value cache."""

    def __init__(self, model: Transformer, batch_size: int) -> None:
        self._model = model
        self._cache = KeyValueCache(model.config, batch_size, model.dtype)

    @property
    def length(self) -> int:
        """How many positions have been read."""
        return self._cache.length

    def read(self, ids: Int[np.ndarray, "batch seq"]) -> Float[np.ndarray, "batch vocab"]:
        """Read on; the logits of the tokens that follow."""
        return self._model.head.forward(self._model.hidden(ids, cache=self._cache)[:, -1])
