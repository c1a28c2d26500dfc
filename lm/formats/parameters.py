"""Which parameters a Transformer has: their names and shapes, the same whichever backend computes with them."""

import math

from lm.config.model import ModelConfig

Shape = tuple[int, ...]


def parameter_shapes(config: ModelConfig, vocab_size: int) -> dict[str, Shape]:
    """The shape of each parameter by its name in a model file, in the order in which the model draws them.

    Matrices are (outputs, inputs), as in y = x W^T.
    """
    d_model, d_head = config.d_model, config.d_head
    shapes: dict[str, Shape] = {"embedding.weight": (vocab_size, d_model)}
    if config.positions == "learned":
        shapes["position_embedding.weight"] = (config.context_length, d_model)
    for layer in range(config.n_layers):
        block = {
            **_norm("attention_norm", config),
            **_linear("attention.qkv", d_model, (config.n_heads + 2 * config.kv_heads) * d_head, config),
            **_linear("attention.out", d_model, d_model, config),
            **({f"attention.{name}_norm.weight": (d_head,) for name in ("query", "key")} if config.qk_norm else {}),
            **_norm("feed_forward_norm", config),
            **_linear("feed_forward.up", d_model, config.hidden, config),
            **(_linear("feed_forward.gate", d_model, config.hidden, config) if config.feed_forward == "swiglu" else {}),
            **_linear("feed_forward.down", config.hidden, d_model, config),
        }
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    if config.norm_position == "pre":  # a post-norm block ends in a norm already
        shapes |= _norm("final_norm", config)
    if not config.tie_embeddings:
        shapes["head.weight"] = (vocab_size, d_model)
    return shapes


def initial_deviation(name: str, config: ModelConfig) -> float:
    """The standard deviation of a matrix's first entries, by its name.

    GPT-2's 0.02, and for the two projections of a block that write to the residual stream 0.02 / sqrt(2 n_layers)
    (Radford et al. 2019, section 2.3). With `zero_init` these two start at zero, so that every block starts as the
    identity (Zhang et al. 2019, https://arxiv.org/abs/1901.09321). With `base_width` hidden matrices have the deviation
    0.02 at that d_model and 1 / sqrt(d_model) of it elsewhere, so that what they put out has one size at every width
    (Yang et al. 2022, table 3, https://arxiv.org/abs/2203.03466).
    """
    deviation = 0.02
    if not name.startswith("blocks."):
        return deviation
    if config.base_width is not None:
        deviation *= math.sqrt(config.base_width / config.d_model)
    if name.endswith((".out.weight", ".down.weight")):
        return 0.0 if config.zero_init else deviation / math.sqrt(2 * config.n_layers)
    return deviation


def n_parameters(config: ModelConfig, vocab_size: int) -> int:
    """How many numbers training adjusts; a tied matrix counts once."""
    return sum(math.prod(shape) for shape in parameter_shapes(config, vocab_size).values())


def _linear(name: str, n_inputs: int, n_outputs: int, config: ModelConfig) -> dict[str, Shape]:
    return {f"{name}.weight": (n_outputs, n_inputs)} | ({f"{name}.bias": (n_outputs,)} if config.bias else {})


def _norm(name: str, config: ModelConfig) -> dict[str, Shape]:
    if config.norm == "none":
        return {}
    width: Shape = (config.d_model,)
    has_bias = config.norm == "layernorm" and config.bias
    return {f"{name}.weight": width} | ({f"{name}.bias": width} if has_bias else {})
