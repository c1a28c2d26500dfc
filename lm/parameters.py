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
