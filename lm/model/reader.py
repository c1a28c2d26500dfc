"""The Transformer as generation computes it: the function of `lm.model.transformer`, with its weights made ready.

It reads a few tokens at a time and remembers them in a cache. There are no gradients and no dropout. Matrices that read
the same input are joined, and each is kept in the form that the device multiplies fastest (`lm.model.matrices`).

Shapes: batch, seq = the new tokens of each text, n = batch * seq, total = columns of the cache.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.config.model import ModelConfig
from lm.config.weights import Weights
from lm.model.cache import KeyValueCache, LayerCache, layer_caches
from lm.model.feed_forward import activation
from lm.model.matrices import Product, fewest_rows, product
from lm.model.norm import LayerNorm, RMSNorm
from lm.model.places import Places, PlaceTables
from lm.model.positions import sinusoidal_table
from lm.model.transformer import Block, Transformer
from lm.model.upcast import upcast

if TYPE_CHECKING:
    from lm.model.session import CachedSession

Norm = Callable[[Float[Tensor, "*batch width"]], Float[Tensor, "*batch width"]]


class _Layer(NamedTuple):
    """A block with its weights made ready."""

    attention_norm: Norm
    qkv: Product
    query_norm: Norm | None
    key_norm: Norm | None
    out: Product
    feed_forward_norm: Norm
    up: Product  # with SwiGLU the rows of the gate, then those of `up`
    down: Product


class Reader:
    """A `lm.generation.session.LanguageModel` with the weights of a model, as they are now.

    `weights` is the precision of the matrices; None keeps the model's own. In bf16, int8 and int4 activations are
    bfloat16, and in bf16 the cache is too. Norms, rotations and the softmax are computed in float32 or better.

    Raises:
        ValueError: when int8 or int4 cannot run on the model's device or with its widths. The message begins with
            `place`.
    """

    def __init__(self, model: Transformer, weights: Weights | None = None, place: str = "weights") -> None:
        config, self.vocab_size = model.config, model.vocab_size
        self.config: ModelConfig = config
        self.device = model.embedding.weight.device
        if weights in ("int8", "int4") and self.device.type != "cpu":
            raise ValueError(f"{place}: {weights!r} runs on a CPU only, and the device is {self.device.type!r}")
        dtype = model.embedding.weight.dtype
        if weights is not None:
            dtype = torch.float32 if weights == "fp32" else torch.bfloat16
        self.dtype = dtype
        # For one text, attention multiplies single rows. A CPU does that faster in float32 than in bfloat16, and for
        # many texts hardly more slowly.
        self.cache_dtype = torch.float32 if weights in ("int8", "int4") else dtype
        self._n_heads, self._n_kv_heads = config.n_heads, config.sizes.n_kv_heads

        try:
            self._layers = [self._layer(block, weights) for block in model.blocks]
            self._head = self._product(model.head_weight.detach(), None, weights)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        self._embedding = model.embedding.weight.detach().to(dtype)
        # For each number of rows that is too small for products: the rows that are multiplied in their place.
        fewest = fewest_rows(self._embedding, weights)
        self._again = {n: torch.arange(fewest) % n for n in range(1, fewest)}
        self._final_norm = _norm(model.final_norm, dtype) or _same
        self._position_table = None
        match config.positions:
            case "learned":
                self._position_table = model.position_embedding.weight.detach().to(dtype)
            case "sinusoidal":
                table = sinusoidal_table(config.context_length, config.d_model)
                self._position_table = table.to(self.device, torch.promote_types(dtype, torch.float32))
            case "rope" | "alibi" | "none":
                pass
        self._tables = PlaceTables(config, self.device, self.cache_dtype)

    def session(self, batch_size: int) -> "CachedSession":
        """A session of `batch_size` texts, for generation."""
        from lm.model.session import CachedSession  # it is built on this module

        return CachedSession(self, batch_size)

    @torch.no_grad()
    def hidden(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        """The last residual stream, normalised and scaled, of whole texts that start at position 0."""
        batch, seq = ids.shape
        cache = KeyValueCache(self.config, batch, self.device, self.cache_dtype)
        cache.make_room(seq)
        positions = torch.arange(seq, device=self.device).expand(batch, -1)
        return self.states(ids, positions, cache.store[:, :, :batch])

    def states(
        self,
        ids: Int[Tensor, "batch seq"],
        positions: Int[Tensor, "batch seq"],
        store: Float[Tensor, "n_layers 2 batch n_kv_heads total d_head"],
    ) -> Float[Tensor, "batch seq d_model"]:
        """The last residual stream, normalised and scaled, of new tokens of each text, at these positions.

        Their keys and values go into the store of a cache.
        """
        # On a CPU an operation is so short that what it notes for gradients can be told, even where none are wanted.
        with torch.inference_mode() if self.device.type == "cpu" else torch.no_grad():
            return self._states(ids, positions, store)

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """The head: one matrix product."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        return self._head(self._enough(rows)).narrow(0, 0, len(rows)).view(*hidden.shape[:-1], -1)

    def _states(self, ids: Tensor, positions: Tensor, store: Tensor) -> Tensor:
        batch, seq = ids.shape
        places = self._tables.at(positions, store.shape[4])
        x = self._enough(self._embed(ids, positions).flatten(0, 1))
        for layer, kept in zip(self._layers, layer_caches(store, places.only), strict=True):
            if self.config.norm_position == "pre":
                x = layer.out(self._attention(layer, layer.attention_norm(x), places, kept), plus=x)
                x = layer.down(self._feed_forward(layer, layer.feed_forward_norm(x)), plus=x)
            else:
                x = layer.attention_norm(layer.out(self._attention(layer, x, places, kept), plus=x))
                x = layer.feed_forward_norm(layer.down(self._feed_forward(layer, x), plus=x))
        x = self._final_norm(x)
        x = x if self.config.base_width is None else x * self.config.output_scale
        return x.narrow(0, 0, batch * seq).view(batch, seq, -1)

    def _enough(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "rows width"]:
        """The rows, and again the same ones where products need more rows."""
        again = self._again.get(len(x))
        return x if again is None else x.index_select(0, again)

    def _layer(self, block: nn.Module, weights: Weights | None) -> _Layer:
        def ready(*layers: nn.Linear) -> Product:
            weight = torch.cat([layer.weight.detach() for layer in layers])
            biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
            return self._product(weight, torch.cat(biases) if biases else None, weights)

        assert isinstance(block, Block)
        attention, feed_forward = block.attention, block.feed_forward
        gate = [] if feed_forward.gate is None else [feed_forward.gate]
        return _Layer(
            _norm(block.attention_norm, self.dtype) or _same,
            ready(attention.qkv),
            _norm(attention.query_norm, self.cache_dtype),
            _norm(attention.key_norm, self.cache_dtype),
            ready(attention.out),
            _norm(block.feed_forward_norm, self.dtype) or _same,
            ready(*gate, feed_forward.up),
            ready(feed_forward.down),
        )

    def _product(self, weight: Tensor, bias: Tensor | None, weights: Weights | None) -> Product:
        if weights in ("int8", "int4"):  # these round the weights themselves, only once
            return product(weight, None if bias is None else bias.to(self.dtype), weights)
        kind: Weights = "bf16" if self.dtype == torch.bfloat16 else "fp32"
        return product(weight.to(self.dtype), None if bias is None else bias.to(self.dtype), kind)

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        x = F.embedding(ids, self._embedding)
        if self._position_table is None:
            return x
        table = self._position_table[positions]
        if self.config.positions == "learned":
            return x + table
        return (upcast(x) * self.config.embedding_scale + table).to(x.dtype)

    def _attention(self, layer: _Layer, x: Tensor, places: Places, kept: LayerCache) -> Tensor:
        """What the matrix `out` reads."""
        batch, seq = places.positions.shape
        n_heads, n_kv_heads, d_head = self._n_heads, self._n_kv_heads, self.config.d_head
        heads = layer.qkv(x).narrow(0, 0, batch * seq).to(self.cache_dtype).view(batch, seq, -1, d_head)
        q = heads.narrow(2, 0, n_heads)
        if layer.query_norm is not None and layer.key_norm is not None:
            k = heads.narrow(2, n_heads, n_kv_heads)
            q.copy_(layer.query_norm(q))
            k.copy_(layer.key_norm(k))
        places.rotate(heads.narrow(2, 0, n_heads + n_kv_heads))
        places.write(kept.columns, heads.narrow(2, n_heads, 2 * n_kv_heads))

        # Query head h reads key/value head h // group, so the queries are laid out as (n_kv_heads, group * seq).
        q = q.transpose(1, 2).reshape(batch * n_kv_heads, -1, d_head)
        scores = torch.baddbmm(places.bias, q, kept.keys, alpha=1 / math.sqrt(d_head))
        y = torch.bmm(scores.softmax(-1), kept.values).view(batch, n_heads, seq, d_head)
        return self._enough(y.transpose(1, 2).reshape(batch * seq, -1).to(self.dtype))

    def _feed_forward(self, layer: _Layer, x: Tensor) -> Tensor:
        """What the matrix `down` reads."""
        gate, up = None, layer.up(x)
        if self.config.feed_forward == "swiglu":
            gate, up = up.chunk(2, dim=-1)
        return activation(self.config.feed_forward, up, gate)


def _norm(norm: nn.Module, dtype: torch.dtype) -> Norm | None:
    """The norm as one operation of PyTorch; None if there is none."""
    match norm:
        case RMSNorm():
            return _rms_norm(norm.weight.detach().to(dtype), norm.eps)
        case LayerNorm():
            weight, eps = norm.weight.detach().to(dtype), norm.eps
            bias = None if norm.bias is None else norm.bias.detach().to(dtype)
            return lambda x: F.layer_norm(x, weight.shape, weight, bias, eps)
        case _:
            return None


def _rms_norm(weight: Tensor, eps: float) -> Norm:
    if weight.device.type != "cpu":
        return lambda x: F.rms_norm(x, weight.shape, weight, eps)
    # A CPU has no kernel for it, and takes ten operations. The layer norm of (x, -x), whose mean is 0, is one.
    signs, both = weight.new_tensor([[1.0], [-1.0]]), torch.stack([weight, weight])
    return lambda x: F.layer_norm(x.unsqueeze(-2) * signs, both.shape, both, None, eps).select(-2, 0)


def _same(x: Tensor) -> Tensor:
    return x
