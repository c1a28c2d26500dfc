"""The table of parameters. It declares each parameter once; both backends, the optimizers and every format read it.

Building a model with a parameter that is not in the table is an error, so no parameter gets a default by accident.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from lm.config.model import ModelConfig
from lm.formats.look_back import look_back

Role = Literal["embedding", "head", "hidden", "gain", "bias"]

_DEVIATION = 0.02


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        shape: of the array. Matrices are (outputs, inputs), as in y = x W^T.
        axes: what each axis counts.
        role: what it does in the model. `embedding` and `head` are tables with a vector for each token or position,
            `hidden` are the matrices inside the blocks, `gain` the factors of a norm.
        start: the constant that all entries start from; None if they are drawn from a normal distribution.
        deviation: the standard deviation of that distribution.
        wider: how many times wider than `base_width` the model is; 1 without `base_width`. The learning rate was found
            for that width.
        parts: if several matrices are stored as one, the number of rows of each, in order.
        first_column: of a matrix, what replaces the numbers that were drawn; one for all rows, or one for each.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    role: Role
    start: float | None = None
    deviation: float = 0.0
    wider: float = 1.0
    parts: Mapping[str, int] = field(default_factory=dict)
    first_column: tuple[float, ...] | float | None = None


Table = dict[str, ParameterSpec]


def parameter_table(config: ModelConfig, vocab_size: int) -> Table:
    """Each parameter by its name in a model file, in the order in which a fresh model draws them.

    Matrices start with GPT-2's deviation, 0.02. The two projections of a block that write to the residual stream start
    with 0.02 / sqrt(2 n_layers) (Radford et al. 2019, section 2.3). With `zero_init` these two start at zero, so that
    every pre-norm block starts as the identity, and every post-norm block starts as its norms alone (Zhang et al. 2019,
    https://arxiv.org/abs/1901.09321). With `base_width`, 0.02 sqrt(base_width / d_model) replaces 0.02 in hidden
    matrices, so that their outputs have the same size at every width (Yang et al. 2022, table 3,
    https://arxiv.org/abs/2203.03466). With `look_back_heads` some numbers are chosen: see `lm.formats.look_back`.
    """
    table = dict(_specs(config, vocab_size))
    for name, changes in look_back(config).items():
        table[name] = replace(table[name], **changes)
    return table


def n_parameters(config: ModelConfig, vocab_size: int) -> int:
    """How many numbers training adjusts; a tied matrix counts once."""
    return size_of(parameter_table(config, vocab_size))


def size_of(table: Table) -> int:
    """How many numbers the parameters of a table have together."""
    return sum(math.prod(spec.shape) for spec in table.values())


def _specs(config: ModelConfig, vocab_size: int) -> Iterator[tuple[str, ParameterSpec]]:
    d_model, wider = config.d_model, 1.0 if config.base_width is None else config.d_model / config.base_width

    def table(name: str, n_rows: int, axis: str, role: Role) -> Iterator[tuple[str, ParameterSpec]]:
        yield f"{name}.weight", ParameterSpec((n_rows, d_model), (axis, "d_model"), role, None, _DEVIATION, wider)

    def norm(name: str, width: int, axis: str, bias: bool) -> Iterator[tuple[str, ParameterSpec]]:
        yield f"{name}.weight", ParameterSpec((width,), (axis,), "gain", 1.0, wider=wider)
        if bias:
            yield f"{name}.bias", ParameterSpec((width,), (axis,), "bias", 0.0, wider=wider)

    def block_norm(name: str) -> Iterator[tuple[str, ParameterSpec]]:
        if config.norm != "none":
            yield from norm(name, d_model, "d_model", config.norm == "layernorm" and config.bias)

    def linear(
        name: str, outputs: tuple[int, str], inputs: tuple[int, str], writes: bool = False, **parts: int
    ) -> Iterator[tuple[str, ParameterSpec]]:
        """A hidden matrix and its bias; `writes` if its outputs are added to the residual stream."""
        (n_out, out), (n_in, axis_in) = outputs, inputs
        deviation = _hidden_deviation(config, writes)
        yield f"{name}.weight", ParameterSpec((n_out, n_in), (out, axis_in), "hidden", None, deviation, wider, parts)
        if config.bias:
            yield f"{name}.bias", ParameterSpec((n_out,), (out,), "bias", 0.0, wider=wider, parts=parts)

    model, inner = (d_model, "d_model"), (config.sizes.d_ff, "d_ff")
    n_queries, n_keys = config.n_heads * config.d_head, config.sizes.n_kv_heads * config.d_head
    heads = (n_queries + 2 * n_keys, "query+key+value")
    yield from table("embedding", vocab_size, "vocab_size", "embedding")
    if config.positions == "learned":
        yield from table("position_embedding", config.context_length, "context_length", "embedding")
    for layer in range(config.n_layers):
        block = f"blocks.{layer}"
        yield from block_norm(f"{block}.attention_norm")
        yield from linear(f"{block}.attention.qkv", heads, model, query=n_queries, key=n_keys, value=n_keys)
        yield from linear(f"{block}.attention.out", model, (n_queries, "heads"), writes=True)
        if config.qk_norm:
            yield from norm(f"{block}.attention.query_norm", config.d_head, "d_head", bias=False)
            yield from norm(f"{block}.attention.key_norm", config.d_head, "d_head", bias=False)
        yield from block_norm(f"{block}.feed_forward_norm")
        yield from linear(f"{block}.feed_forward.up", inner, model)
        if config.feed_forward == "swiglu":
            yield from linear(f"{block}.feed_forward.gate", inner, model)
        yield from linear(f"{block}.feed_forward.down", model, inner, writes=True)
    if config.norm_position == "pre":  # a post-norm block ends in a norm already
        yield from block_norm("final_norm")
    if not config.tie_embeddings:
        yield from table("head", vocab_size, "vocab_size", "head")


def _hidden_deviation(config: ModelConfig, writes: bool) -> float:
    deviation = _DEVIATION
    if config.base_width is not None:
        deviation *= math.sqrt(config.base_width / config.d_model)
    if writes:
        return 0.0 if config.zero_init else deviation / math.sqrt(2 * config.n_layers)
    return deviation
