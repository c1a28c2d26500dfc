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
from lm.model.cache import KeyValueCache, write
from lm.model.feed_forward import activation
from lm.model.matrices import Product, Weights, product
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
    """What all layers need to know of where the new tokens stand."""

    positions: Int[Tensor, "batch seq"]
    turn: tuple[Float[Tensor, "batch seq 1 d_head"], Float[Tensor, "batch seq 1 d_head"]] | None
    bias: Float[Tensor, "_ _ _ seq total"]


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
            case "alibi":
                self._slopes = alibi_slopes(config.n_heads).to(device, exact)
            case "none":
                pass

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
        places = _Places(positions, *self._turn_and_bias(positions, store.shape[4]))
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

    def _turn_and_bias(self, positions: Tensor, total: int) -> tuple[tuple[Tensor, Tensor] | None, Tensor]:
        config = self.config
        turn = None
        if self._turns is not None:
            cos, sin = self._turns
            turn = cos[positions].unsqueeze(2), sin[positions].unsqueeze(2)
        distance = positions.unsqueeze(-1) - torch.arange(total, device=self.device)
        hidden = distance < 0  # keys after the query, and columns that are not filled
        if config.window is not None:
            hidden |= distance >= config.window
        if config.positions == "alibi":
            bias = alibi_bias(self._slopes, distance).masked_fill_(hidden.unsqueeze(1), -math.inf)
            bias = bias.view(len(bias), config.sizes.n_kv_heads, -1, *bias.shape[2:])
        else:
            bias = torch.zeros(hidden.shape, device=self.device).masked_fill_(hidden, -math.inf)[:, None, None]
        return turn, bias.to(self.dtype)

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
        write(kept, places.positions, heads[:, :, n_heads:])

        # Query head h reads key/value head h // group, so the queries are laid out as (n_kv_heads, group * seq).
        grouped = heads[:, :, :n_heads].view(batch, seq, n_kv_heads, -1, d_head)
        q = grouped.permute(0, 2, 3, 1, 4).flatten(2, 3)
        total = places.bias.shape[-1]
        keys, values = kept
        scores = torch.matmul(q, keys.mT).view(batch, n_kv_heads, -1, seq, total)
        weights = torch.add(places.bias, scores, alpha=1 / math.sqrt(d_head)).softmax(-1)
        y = torch.matmul(weights.flatten(2, 3), values).view(batch, n_kv_heads, -1, seq, d_head)
        return layer.out(y.permute(0, 3, 1, 2, 4).reshape(len(x), -1))

    def _feed_forward(self, layer: _Layer, x: Tensor) -> Tensor:
        gate, up = None, layer.up(x)
        if self.config.feed_forward == "swiglu":
            gate, up = up.chunk(2, dim=-1)
        return layer.down(activation(self.config.feed_forward, up, gate))


def _norm(norm: nn.Module, dtype: torch.dtype) -> Norm | None:
    """The norm with as few operations as the device allows; None if there is none."""
    match norm:
        case RMSNorm():
            weight, eps = norm.weight.detach().to(dtype), norm.eps
            if weight.device.type == "cuda":
                return lambda x: F.rms_norm(x, weight.shape, weight, eps)
            exact = upcast(weight)

            def rms_norm(x: Tensor) -> Tensor:
                y = upcast(x)
                scale = y.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
                return (y * scale).mul_(exact).to(x.dtype)

            return rms_norm
        case LayerNorm():
            weight, eps = norm.weight.detach().to(dtype), norm.eps
            bias = None if norm.bias is None else norm.bias.detach().to(dtype)
            return lambda x: F.layer_norm(x, weight.shape, weight, bias, eps)
        case _:
            return None


def _same(x: Tensor) -> Tensor:
    return x
