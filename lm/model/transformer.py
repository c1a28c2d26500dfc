"""The Transformer language model: token ids in, logits of the next token out."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)
from torch.utils.checkpoint import checkpoint

from lm.config.model import ModelConfig
from lm.formats.parameters import parameter_table
from lm.model.attend import Kernel
from lm.model.attention import Attention
from lm.model.feed_forward import FeedForward
from lm.model.flex import visible_blocks
from lm.model.norm import build_norm
from lm.model.positions import PositionTable, sinusoidal_table
from lm.model.upcast import upcast

if TYPE_CHECKING:
    from lm.model.session import CachedSession


class Block(nn.Module):
    """Attention, then feed-forward, each with a residual connection.

    `pre` normalises the input of each sublayer: x + f(norm(x)). `post` normalises the sum, as the first Transformer
    does: norm(x + f(x)). Xiong et al. 2020 compare them (https://arxiv.org/abs/2002.04745).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre = config.norm_position == "pre"
        self.attention_norm = build_norm(config)
        self.attention = Attention(config)
        self.feed_forward_norm = build_norm(config)
        self.feed_forward = FeedForward(config)
        self.dropout = config.dropout

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        positions: Int[Tensor, "batch seq"] | None = None,
        visible: Bool[Tensor, "batch seq seq"] | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The residual stream after this block."""
        if self.pre:
            x = x + self.attention(self.attention_norm(x), positions=positions, visible=visible)
            return x + self._feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self.attention(x, positions=positions, visible=visible))
        y: Tensor = self.feed_forward_norm(x + self._feed_forward(x))
        return y

    def attention_weights(
        self, x: Float[Tensor, "batch seq d_model"], positions: Int[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "batch heads query key"]:
        """The attention weights of each position over all positions, if x is the residual stream before this block."""
        return self.attention.weights(self.attention_norm(x) if self.pre else x, positions=positions)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.feed_forward(x), self.dropout, self.training)


class Transformer(nn.Module):
    """A decoder-only Transformer.

    Weights start as `lm.formats.parameters` says. They are drawn on the CPU, in the order of the parameters, from
    `seed` alone, so that every device starts from the same model.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.table = parameter_table(config, vocab_size)
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        if config.positions == "sinusoidal":
            self.sinusoidal = PositionTable(sinusoidal_table(config.context_length, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        # A post-norm block ends in a norm already.
        self.final_norm = build_norm(config) if config.norm_position == "pre" else nn.Identity()
        self.head = None if config.tie_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)
        self.recompute = False
        self._compiled: Callable[..., Tensor] | None = None  # runs a block
        self._draw_weights(seed)

    def forward(
        self,
        ids: Int[Tensor, "batch seq"],
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        """Logits of the token that follows each position.

        `positions` may say where each token stands, from 0 to context_length - 1. If it is None, they count from 0. The
        causal rule does not depend on positions, only on the order of the ids.
        """
        return self.logits(self.hidden(ids, positions))

    def hidden(
        self,
        ids: Int[Tensor, "batch seq"],
        positions: Int[Tensor, "batch seq"] | None = None,
        documents: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The last residual stream, normalised and scaled: the output of the whole model except its head.

        If `documents` gives each token the number of its document, attention sees the tokens of the same document only.
        """
        visible = None if documents is None else documents[:, :, None] == documents[:, None, :]
        x = self.embed(ids, positions)
        trains = torch.is_grad_enabled()
        run = self._compiled if self._compiled and trains else _run
        for block in self.blocks:
            if self.recompute and trains:
                x = checkpoint(run, block, x, positions, visible, use_reentrant=False)
            else:
                x = run(block, x, positions, visible)
        y: Tensor = self.final_norm(x)
        return y if self.config.base_width is None else y * self.config.output_scale

    def embed(
        self,
        ids: Int[Tensor, "batch seq"],
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The residual stream before the first block: token embeddings, plus position embeddings if the model has them.

        Raises:
            ValueError: when a position is outside the context.
        """
        seq = ids.shape[1]
        assert seq <= self.config.context_length, f"{seq} positions in a context of {self.config.context_length}"
        if positions is not None and not 0 <= int(positions.min()) <= int(positions.max()) < self.config.context_length:
            raise ValueError(
                f"positions: must be from 0 to {self.config.context_length - 1}, "
                f"got {int(positions.min())} to {int(positions.max())}"
            )
        places = slice(seq) if positions is None else positions
        x: Tensor = self.embedding(ids)
        if self.config.positions == "learned":
            x = x + self.position_embedding.weight[places]
        if self.config.positions == "sinusoidal":
            x = (upcast(x) * self.config.embedding_scale + self.sinusoidal.values[places]).to(x.dtype)
        return F.dropout(x, self.config.dropout, self.training)

    def attention_weights(
        self, ids: Int[Tensor, "batch seq"], positions: Int[Tensor, "batch seq"] | None = None
    ) -> list[Float[Tensor, "batch heads query key"]]:
        """The attention weights of each position over all positions, one tensor per layer. Each row sums to 1."""
        x, weights = self.embed(ids, positions), []
        for block in self.blocks:
            assert isinstance(block, Block)
            weights.append(block.attention_weights(x, positions))
            x = block(x, positions)
        return weights

    @property
    def head_weight(self) -> Float[Tensor, "vocab d_model"]:
        """The matrix of the head. It is the matrix of the embedding if the two are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """The head: one matrix product."""
        return F.linear(hidden, self.head_weight)

    def compute_with(
        self, *, attention: Kernel | None = None, recompute: bool = False, compile_blocks: bool = False
    ) -> None:
        """Choose how the model computes. The function that it computes stays the same.

        `attention` is the attention kernel (`lm.model.attend`). For `flex` the model must be on its device already.
        With `recompute`, the backward pass computes the activations of each block again. This saves their memory and
        costs a third more work (Chen et al. 2016, https://arxiv.org/abs/1604.06174).

        With `compile_blocks`, each block runs compiled where gradients are wanted. The blocks are alike, so the
        compiler works for one of them only. For each batch size there is code of its own. Otherwise the code would
        depend on the sizes that came before, and these are different in a resumed run.
        """
        self.recompute = recompute
        self._compiled = torch.compile(_run, dynamic=False) if compile_blocks else None
        for module in self.modules():
            if isinstance(module, Attention):
                module.kernel = attention
                module.blocks = (
                    visible_blocks(self.config.context_length, self.config.window, module.qkv.weight.device)
                    if attention == "flex"
                    else None
                )

    def session(self, batch_size: int) -> "CachedSession":
        """A session of `batch_size` texts, for generation with the weights as they are now."""
        from lm.model.reader import Reader  # it is built on this module

        return Reader(self).session(batch_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    @property
    def n_parameters(self) -> int:
        """How many numbers training adjusts; a tied matrix counts once."""
        return sum(p.numel() for p in self.parameters())

    def _draw_weights(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shapes = {name: tuple(p.shape) for name, p in self.named_parameters()}
        assert shapes == {name: spec.shape for name, spec in self.table.items()}, "each parameter stands in the table"
        for name, p in self.named_parameters():
            spec = self.table[name]
            if spec.start is not None:
                nn.init.constant_(p, spec.start)
            else:
                nn.init.normal_(p, std=spec.deviation, generator=generator)
            if spec.first_column is not None:
                with torch.no_grad():
                    p[:, 0] = torch.tensor(spec.first_column)


def _run(block: nn.Module, x: Tensor, positions: Tensor | None, visible: Tensor | None) -> Tensor:
    y: Tensor = block(x, positions, visible)
    return y
