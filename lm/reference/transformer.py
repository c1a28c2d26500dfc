"""The Transformer language model in NumPy, the twin of `lm.model.transformer`.

Every layer has `forward`, which remembers what the derivative needs, and `backward`. The argument of `backward` is the
gradient of the loss with respect to the output of the layer. `backward` adds to the gradients of the parameters, and
returns the gradient of the input. Reverse-mode differentiation then only calls `backward` in the reverse order of
`forward` (docs/theory/notation.md).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int64

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

    `pre` norm is x + f(norm(x)), `post` norm(x + f(x)). A sum passes its gradient on to both of its terms.
    """

    def __init__(self, config: ModelConfig, parameters: Parameters, layer: int, positions: Positions) -> None:
        name = f"blocks.{layer}"
        self.pre = config.norm_position == "pre"
        self.attention_norm = build_norm(config, parameters, f"{name}.attention_norm")
        self.attention = Attention(config, parameters, f"{name}.attention", layer, positions)
        self.feed_forward_norm = build_norm(config, parameters, f"{name}.feed_forward_norm")
        self.feed_forward = FeedForward(config, parameters, f"{name}.feed_forward")
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Float[np.ndarray, "batch seq d_model"],
        generator: np.random.Generator | None,
        cache: KeyValueCache | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
        documents: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The residual stream after this block."""
        if self.pre:
            normalised = self.attention_norm.forward(x)
            x = x + self.attention.forward(normalised, generator, cache, None, positions, documents)
            y = self.feed_forward.forward(self.feed_forward_norm.forward(x))
            return x + self.dropout.forward(y, generator)
        y = self.attention.forward(x, generator, cache, None, positions, documents)
        x = self.attention_norm.forward(x + y)
        y = self.feed_forward.forward(x)
        return self.feed_forward_norm.forward(x + self.dropout.forward(y, generator))

    def backward(self, dy: Float[np.ndarray, "batch seq d_model"]) -> Float[np.ndarray, "batch seq d_model"]:
        """The gradient of x."""
        if self.pre:
            dy = dy + self.feed_forward_norm.backward(self.feed_forward.backward(self.dropout.backward(dy)))
            return dy + self.attention_norm.backward(self.attention.backward(dy)[0])
        dy = self.feed_forward_norm.backward(dy)
        dy = dy + self.feed_forward.backward(self.dropout.backward(dy))
        dy = self.attention_norm.backward(dy)
        return dy + self.attention.backward(dy)[0]

    def attention_weights(
        self, x: Float[np.ndarray, "batch seq d_model"], positions: Int[np.ndarray, "batch seq"] | None = None
    ) -> Float[np.ndarray, "batch heads query key"]:
        """The attention weights of each position over all positions, if x is the residual stream before this block.

        Do not call it between `forward` and `backward`: it overwrites what the layers remember for `backward`.
        """
        return self.attention.weights(self.attention_norm.forward(x) if self.pre else x, positions=positions)


class Transformer:
    """A decoder-only Transformer with these weights, in their precision: float32 or float64.

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
        self.final_norm = build_norm(config, self.parameters, "final_norm") if pre else NoNorm()
        self.head = Linear(self.parameters, "embedding" if config.tie_embeddings else "head")

    def forward(
        self,
        ids: Int[np.ndarray, "batch seq"],
        generator: np.random.Generator | None = None,
        cache: KeyValueCache | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
        documents: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch seq vocab"]:
        """Logits of the token that follows each position.

        With a generator there is dropout, as in training. With a cache, ids continue the text that the cache holds.
        Without one, `positions` may say where each token stands, and `documents` which document it belongs to, as in
        `lm.model.transformer`.
        """
        return self.head.forward(self.hidden(ids, generator, cache, positions, documents))

    def hidden(
        self,
        ids: Int[np.ndarray, "batch seq"],
        generator: np.random.Generator | None = None,
        cache: KeyValueCache | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
        documents: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The last residual stream, normalised and scaled: the output of the whole model except its head."""
        x = self.embed(ids, generator, cache, positions)
        for block in self.blocks:
            x = block.forward(x, generator, cache, positions, documents)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.final_norm.forward(x) * self.dtype.type(self.config.output_scale)

    def embed(
        self,
        ids: Int[np.ndarray, "batch seq"],
        generator: np.random.Generator | None = None,
        cache: KeyValueCache | None = None,
        positions: Int[np.ndarray, "batch seq"] | None = None,
    ) -> Float[np.ndarray, "batch seq d_model"]:
        """The residual stream before the first block: token embeddings, plus position embeddings if the model has them.

        Raises:
            ValueError: when a position is outside the context.
        """
        seq = ids.shape[1]
        end = seq if cache is None else int(cache.lengths.max()) + seq
        assert end <= self.config.context_length, f"{end} positions in a context of {self.config.context_length}"
        assert positions is None or cache is None, "a cache counts its positions itself"
        if positions is not None and not 0 <= positions.min() <= positions.max() < self.config.context_length:
            raise ValueError(
                f"positions: must be from 0 to {self.config.context_length - 1}, "
                f"got {positions.min()} to {positions.max()}"
            )
        self._positions = positions
        if cache is not None:
            places: Any = cache.places(seq)
        else:
            places = slice(seq) if positions is None else positions
        x = self.embedding.forward(ids)
        if self.position_embedding is not None:
            x += self.position_embedding.value[places]
        if self.positions.sinusoidal is not None:
            x *= self.dtype.type(self.config.embedding_scale)
            x += self.positions.sinusoidal[places]
        return self.dropout.forward(x, generator)

    def attention_weights(
        self, ids: Int[np.ndarray, "batch seq"], positions: Int[np.ndarray, "batch seq"] | None = None
    ) -> list[Float[np.ndarray, "batch heads query key"]]:
        """The attention weights of each position over all positions, one array per layer. Each row sums to 1.

        Do not call it between `forward` and `backward`: it overwrites what the layers remember for `backward`.
        """
        x, weights = self.embed(ids, positions=positions), []
        for block in self.blocks:
            weights.append(block.attention_weights(x, positions))
            x = block.forward(x, None, None, positions)
        return weights

    def backward(self, dlogits: Float[np.ndarray, "batch seq vocab"]) -> None:
        """Add to the gradient of every parameter. `dlogits` is the gradient of the logits that `forward` gave last."""
        dx = self.final_norm.backward(self.head.backward(dlogits) * self.dtype.type(self.config.output_scale))
        for block in reversed(self.blocks):
            dx = block.backward(dx)
        dx = self.dropout.backward(dx)
        if self.position_embedding is not None:
            grad = np.zeros_like(self.position_embedding.value)
            if self._positions is None:
                grad[: dx.shape[1]] = dx.sum(0)
            else:
                np.add.at(grad, self._positions, dx)
            self.position_embedding.add_grad(grad)
        if self.positions.sinusoidal is not None:
            dx *= self.dtype.type(self.config.embedding_scale)
        self.embedding.backward(dx)

    def session(self, batch_size: int) -> "CachedSession":
        """A session of `batch_size` texts, for generation."""
        return CachedSession(self, batch_size)


class CachedSession:
    """A `lm.generation.session.Session` that keeps what it has read in a key/value cache."""

    def __init__(self, model: Transformer, batch_size: int) -> None:
        self._model = model
        self._cache = KeyValueCache(model.config, batch_size, model.dtype)

    @property
    def lengths(self) -> Int64[np.ndarray, " batch"]:
        """How many positions of each text have been read."""
        return self._cache.lengths

    @property
    def length(self) -> int:
        """How many positions of the longest text have been read."""
        return int(self._cache.lengths.max())

    def read(
        self, ids: Int[np.ndarray, "batch seq"], last: int | None = None
    ) -> Float[np.ndarray, "batch positions vocab"]:
        """The logits of the token after each id, or after each of the `last` ids. The ids continue the texts."""
        hidden = self._model.hidden(ids, cache=self._cache)
        return self._model.head.forward(hidden if last is None else hidden[:, -last:])

    def read_states(
        self, ids: Int[np.ndarray, "batch seq"]
    ) -> tuple[Float[np.ndarray, "batch seq d_model"], Float[np.ndarray, "batch 1 vocab"]]:
        """What the head reads at each id, and the logits of the token after the last one."""
        hidden = self._model.hidden(ids, cache=self._cache)
        return hidden, self._model.head.forward(hidden[:, -1:])

    def refill(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Let these rows forget what they have read, and read these texts instead, which may be empty."""
        for row, text in zip(rows, texts, strict=True):
            if text:
                self._model.hidden(np.array([text], np.int64), cache=self._cache.empty_row(row))
            self._cache.lengths[row] = len(text)

    def rewind(self, n_positions: Int64[np.ndarray, " batch"] | int) -> None:
        """Forget the last `n_positions` positions of every text, or of each text its own number."""
        self._cache.rewind(n_positions)

    def select(self, rows: Sequence[int]) -> None:
        """Continue with these texts, in this order. A text may be chosen several times, or not at all."""
        self._cache.select(rows)
