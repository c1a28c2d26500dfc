"""The same function, written with other switches.

Most other models lack some of our switches. Each rewrite here removes one of them: it changes the configuration and the
weights, and the model still computes the same logits, up to rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lm.config.model import ModelConfig
from lm.formats.model_file import Weights
from lm.formats.parameters import parameter_table
from lm.reference.positions import sinusoidal_table


class Model(NamedTuple):
    """A configuration and its weights: float32 arrays by name; and whether it is a chat model."""

    config: ModelConfig
    weights: Weights
    chat: bool = False

    @property
    def vocab_size(self) -> int:
        """How many tokens the model knows."""
        return len(self.weights["embedding.weight"])


Rewrite = Callable[[Model], Model]


def drop_idle_window(model: Model) -> Model:
    """Without a window that holds the whole context, because it hides nothing."""
    window = model.config.window
    return model if window is None or window < model.config.context_length else _changed(model, {"window": None})


def shorten_to_window(model: Model) -> Model:
    """Without a window, and with a context that is no longer than the window was.

    The function is the same as long as a text fits into the window. So a reader must refuse longer texts.
    """
    config, weights = model.config, model.weights
    if config.window is None:
        return model
    length, name = min(config.window, config.context_length), "position_embedding.weight"
    shorter = {name: weights[name][:length]} if name in weights else {}
    return _changed(model, {"window": None, "context_length": length}, shorter)


def fold_output_scale(model: Model) -> Model:
    """Without muP: the final norm multiplies by the output scale, or the head does if there is no final norm.

    With sinusoidal positions the scale of the embedding depends on `base_width` too, so such a model stays as it is
    until `learn_positions` has changed it.
    """
    if model.config.base_width is None or model.config.embedding_scale != 1:
        return model
    scale = np.float32(model.config.output_scale)
    if "final_norm.weight" not in model.weights:
        model = untie(model)
    scaled = {
        name: model.weights[name] * scale
        for name in ("final_norm.weight", "final_norm.bias", "head.weight")
        if name in model.weights and (name != "head.weight" or "final_norm.weight" not in model.weights)
    }
    return _changed(model, {"base_width": None}, scaled)


def untie(model: Model) -> Model:
    """With a head of its own, a copy of the embedding."""
    if not model.config.tie_embeddings:
        return model
    return _changed(model, {"tie_embeddings": False}, {"head.weight": model.weights["embedding.weight"]})


def learn_positions(model: Model) -> Model:
    """With learned positions, instead of sines (the table of sines) or of none (zeros)."""
    config = model.config
    if config.positions not in ("sinusoidal", "none"):
        return model
    shape = (config.context_length, config.d_model)
    sines = config.positions == "sinusoidal"
    table = sinusoidal_table(*shape) if sines else np.zeros(shape, np.float32)
    if config.embedding_scale != 1:
        model = untie(model)  # the head is not scaled
    embedding = model.weights["embedding.weight"] * np.float32(config.embedding_scale)
    return _changed(
        model, {"positions": "learned"}, {"embedding.weight": embedding, "position_embedding.weight": table}
    )


def add_biases(model: Model) -> Model:
    """With biases, which are zeros."""
    if model.config.bias:
        return model
    table = parameter_table(model.config.model_copy(update={"bias": True}), model.vocab_size)
    zeros = {name: np.zeros(spec.shape, np.float32) for name, spec in table.items() if spec.role == "bias"}
    return _changed(model, {"bias": True}, zeros)


def repeat_heads(model: Model) -> Model:
    """With as many key and value heads as query heads: each is repeated for all queries of its group."""
    config, group = model.config, model.config.n_heads // model.config.sizes.n_kv_heads
    changed = {}
    for name, spec in parameter_table(config, model.vocab_size).items():
        if spec.parts:
            query, key, value = np.split(model.weights[name], np.cumsum(list(spec.parts.values()))[:-1])
            repeated = [
                x.reshape(-1, config.d_head, *x.shape[1:]).repeat(group, axis=0).reshape(-1, *x.shape[1:])
                for x in (key, value)
            ]
            changed[name] = np.concatenate([query, *repeated])
    return _changed(model, {"n_kv_heads": None}, changed)


def _changed(model: Model, switches: dict[str, Any], weights: Weights | None = None) -> Model:
    """Another configuration with all of its weights, in the order of its table."""
    config = model.config.model_copy(update=switches)
    every = {**model.weights, **(weights or {})}
    table = parameter_table(config, model.vocab_size)
    return model._replace(config=config, weights={name: every[name] for name in table})
