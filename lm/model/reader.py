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
from lm.model.cache import KeyValueCache, whole_blocks, write
from lm.model.feed_forward import activation
from lm.model.matrices import Product, product
from lm.model.norm import LayerNorm, RMSNorm
from lm.model.positions import alibi_bias, alibi_slopes, rotary_table, sinusoidal_table
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


class _Places(NamedTuple):
    """What all layers need to know of where the new tokens stand. The query heads of a group share their keys."""

    rows: Int[Tensor, "batch 1"]
    positions: Int[Tensor, "batch seq"]
    turn: tuple[Float[Tensor, "batch seq 1 d_head"], Float[Tensor, "batch seq 1 d_head"]] | None
    bias: Float[Tensor, "batch_kv_heads group_seq total"]


class Reader:
    """A `lm.generation.session.LanguageModel` with the weights of a model, as they are now.

    `weights` is the precision of the matrices; None keeps the model's own. In bf16, int8 and int4 activations and cache
    are bfloat16. Norms, rotations and the softmax are computed in float32 or better.

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

        try:
            self._layers = [self._layer(block, weights) for block in model.blocks]
            self._head = self._product(model.head_weight.detach(), None, weights)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        self._embedding = model.embedding.weight.detach().to(dtype)
        self._final_norm = _norm(model.final_norm, dtype) or _same
        self._position_table = self._turns = None
        d_head, device = config.d_head, self.device
        exact = torch.promote_types(dtype, torch.float32)
        match config.positions:
            case "rope":
                cos, sin = rotary_table(config.context_length, d_head, config.rope_theta).to(device, exact)
                # (a cos - b sin, b cos + a sin) = (a, b) cos + (b, a) (-sin, sin)
                self._turns = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
            case "learned":
                self._position_table = model.position_embedding.weight.detach().to(dtype)
            case "sinusoidal":
                self._position_table = sinusoidal_table(config.context_length, config.d_model).to(device, exact)
            case "alibi" | "none":
                pass
        self._bias_line = _bias_line(config).to(device, dtype)

    def session(self, batch_size: int) -> "CachedSession":
        """A session of `batch_size` texts, for generation."""
        from lm.model.session import CachedSession  # it is built on this module

        return CachedSession(self, batch_size)

    @torch.no_grad()
    def hidden(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        """The last residual stream, normalised and scaled, of whole texts that start at position 0."""
        batch, seq = ids.shape
        cache = KeyValueCache(self.config, batch, self.device, self.dtype)
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
        batch, seq = ids.shape
        rows = torch.arange(batch, device=self.device)[:, None]
        places = _Places(rows, positions, self._turn(positions), self._bias(positions, store.shape[4]))
        x = self._embed(ids, positions).flatten(0, 1)
        for layer, kept in zip(self._layers, store, strict=True):
            if self.config.norm_position == "pre":
                x = x + self._attention(layer, layer.attention_norm(x), places, kept)
                x = x + self._feed_forward(layer, layer.feed_forward_norm(x))
            else:
                x = layer.attention_norm(x + self._attention(layer, x, places, kept))
                x = layer.feed_forward_norm(x + self._feed_forward(layer, x))
        x = self._final_norm(x)
        x = x if self.config.base_width is None else x * self.config.output_scale
        return x.view(batch, seq, -1)

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """The head: one matrix product."""
        return self._head(hidden.reshape(-1, hidden.shape[-1])).view(*hidden.shape[:-1], -1)

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
            _norm(attention.query_norm, self.dtype),
            _norm(attention.key_norm, self.dtype),
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

    def _turn(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        if self._turns is None:
            return None
        cos, sin = self._turns
        return cos[positions].unsqueeze(2), sin[positions].unsqueeze(2)

    def _bias(self, positions: Tensor, total: int) -> Tensor:
        """What is added to the scores of `total` keys: -inf for keys after the query, and columns not filled."""
        windows = self._bias_line.unfold(1, total, 1)
        bias = windows[:, self.config.context_length - 1 - positions].transpose(0, 1)  # (batch, 1 or heads, seq, total)
        bias = bias.expand(-1, self.config.n_heads, -1, -1)
        return bias.reshape(len(positions) * self.config.sizes.n_kv_heads, -1, total)

    def _attention(self, layer: _Layer, x: Tensor, places: _Places, kept: Tensor) -> Tensor:
        config, (batch, seq) = self.config, places.positions.shape
        n_heads, n_kv_heads, d_head = config.n_heads, config.sizes.n_kv_heads, config.d_head
        heads = layer.qkv(x).view(batch, seq, -1, d_head)
        if layer.query_norm is not None and layer.key_norm is not None:
            of_keys = slice(n_heads, n_heads + n_kv_heads)
            heads[:, :, :n_heads] = layer.query_norm(heads[:, :, :n_heads])
            heads[:, :, of_keys] = layer.key_norm(heads[:, :, of_keys])
        if places.turn is not None:
            cos, sin = places.turn
            turned = heads[:, :, : n_heads + n_kv_heads]
            wide = upcast(turned)
            turned.copy_((wide * cos).addcmul_(wide.roll(d_head // 2, -1), sin))
        write(kept, places.rows, places.positions, heads[:, :, n_heads:])

        # Query head h reads key/value head h // group, so the queries are laid out as (n_kv_heads, group * seq).
        q = heads[:, :, :n_heads].transpose(1, 2).reshape(batch * n_kv_heads, -1, d_head)
        keys, values = kept.flatten(1, 2)
        scores = torch.baddbmm(places.bias, q, keys.mT, alpha=1 / math.sqrt(d_head))
        y = torch.bmm(scores.softmax(-1), values).view(batch, n_heads, seq, d_head)
        return layer.out(y.transpose(1, 2).reshape(len(x), -1))

    def _feed_forward(self, layer: _Layer, x: Tensor) -> Tensor:
        gate, up = None, layer.up(x)
        if self.config.feed_forward == "swiglu":
            gate, up = up.chunk(2, dim=-1)
        return layer.down(activation(self.config.feed_forward, up, gate))


def _norm(norm: nn.Module, dtype: torch.dtype) -> Norm | None:
    """The norm as one operation of PyTorch; None if there is none."""
    match norm:
        case RMSNorm():
            weight, eps = norm.weight.detach().to(dtype), norm.eps
            return lambda x: F.rms_norm(x, weight.shape, weight, eps)
        case LayerNorm():
            weight, eps = norm.weight.detach().to(dtype), norm.eps
            bias = None if norm.bias is None else norm.bias.detach().to(dtype)
            return lambda x: F.layer_norm(x, weight.shape, weight, bias, eps)
        case _:
            return None


def _bias_line(config: ModelConfig) -> Float[Tensor, "heads places"]:
    """The biases of a query at the last position and of keys from position 0 on, beyond the query too.

    The biases of a query at another position are a window of it, because they depend on the distance alone. The heads
    are one unless they differ.
    """
    n = whole_blocks(config.context_length)
    distance = config.context_length - 1 - torch.arange(config.context_length - 1 + n)
    hidden = distance < 0 if config.window is None else (distance < 0) | (distance >= config.window)
    if config.positions == "alibi":
        bias = alibi_bias(alibi_slopes(config.n_heads).double(), distance[None])[:, 0]
    else:
        bias = torch.zeros(1, len(distance))
    return bias.masked_fill(hidden, -math.inf)


def _same(x: Tensor) -> Tensor:
    return x
