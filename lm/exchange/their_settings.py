"""config.json of the models that can be imported: what is read of it, and the configuration of ours that it becomes.

A key that is not here changes nothing of what the model computes, or only how it is trained. A value that our model
cannot follow is an error, because the imported model would be another one.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from lm.config.base import Section
from lm.config.model import ModelConfig, Size
from lm.formats.transformers import GPT2, LLAMA, WeightMap
from lm.system.files import read_json

# Their names of our feed-forward layers.
_UNGATED = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu2": "relu2",
}
# What only training reads, and muP.
_OURS_ALONE = {"zero_init": False, "look_back_heads": 0, "base_width": None, "dropout": 0.0}


class TheirSettings(Section):
    """What all of them have. A subclass is called as its `model_type`, and so are the places of its errors."""

    model_config = ConfigDict(extra="ignore")

    weight_map: ClassVar[WeightMap]

    vocab_size: Size
    eos_token_id: int | Annotated[list[int], Field(min_length=1)]

    @property
    def end_id(self) -> int:
        """The id of the token that ends a text; in a chat model the first of several."""
        return self.eos_token_id[0] if isinstance(self.eos_token_id, list) else self.eos_token_id

    @abstractmethod
    def ours(self) -> ModelConfig:
        """Our configuration of the same model.

        Raises:
            ValueError: when our model cannot compute it.
        """


class LlamaConfig(TheirSettings):
    """Llama."""

    weight_map = LLAMA

    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    max_position_embeddings: int
    hidden_act: Literal["silu", "swish"] = "silu"
    rms_norm_eps: float
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None  # the same since transformers 5, with rope_theta in it

    def ours(self, **others: Any) -> ModelConfig:
        """Ours; `others` are what a descendant has besides."""
        if self.mlp_bias != self.attention_bias:
            rule = f"must be {self.attention_bias}, as attention_bias, because our model has one switch for both"
            raise self.wrong("mlp_bias", f"{rule}, got {self.mlp_bias}")
        d_head = self.hidden_size // self.num_attention_heads
        if (self.head_dim or d_head) != d_head:
            raise self.wrong("head_dim", f"must be {d_head}, because our model has nothing else, got {self.head_dim}")
        rope = self.rope_parameters or self.rope_scaling or {}
        if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
            raise self.wrong("rope_type", f"must be 'default', because our model has nothing else, got {kind!r}")
        switches = {
            "context_length": self.max_position_embeddings,
            "d_model": self.hidden_size,
            "n_layers": self.num_hidden_layers,
            "n_heads": self.num_attention_heads,
            "n_kv_heads": self.num_key_value_heads or self.num_attention_heads,
            "d_ff": self.intermediate_size,
            "feed_forward": "swiglu",
            "norm": "rmsnorm",
            "norm_position": "pre",
            "norm_eps": self.rms_norm_eps,
            "positions": "rope",
            "rope_theta": rope.get("rope_theta") or self.rope_theta,
            "window": None,
            "qk_norm": False,
            "tie_embeddings": self.tie_word_embeddings,
            "bias": self.attention_bias,
        }
        return ModelConfig.parse({**_OURS_ALONE, **switches, **others})


class Qwen3Config(LlamaConfig):
    """Qwen3: a Llama with normalised queries and keys, which may have a window."""

    num_key_value_heads: Size | None = 32
    head_dim: Size | None = 128
    attention_bias: Literal[False] = False
    use_sliding_window: bool = False
    sliding_window: Size | None = 4096
    layer_types: list[str] | None = None  # since transformers 4.53; before, a window was in the layers from some one on

    def ours(self, **others: Any) -> ModelConfig:
        """Ours."""
        window = self.sliding_window if self.use_sliding_window else None
        wanted = "full_attention" if window is None else "sliding_attention"
        kinds = sorted(set(self.layer_types or ["full_attention"]))
        if kinds != [wanted]:
            raise self.wrong("layer_types", f"must all be {wanted!r} beside this window, got {', '.join(kinds)}")
        return super().ours(qk_norm=True, window=window, **others)


class GPT2Config(TheirSettings):
    """GPT-2."""

    weight_map = GPT2

    n_positions: int
    n_embd: Size
    n_layer: Size
    n_head: Size
    n_inner: Size | None = None
    activation_function: Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "silu", "swish", "relu2"] = (
        "gelu_new"
    )
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: Literal[True] = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False
    tie_word_embeddings: bool = True

    def ours(self) -> ModelConfig:
        """Ours."""
        switches = {
            "context_length": self.n_positions,
            "d_model": self.n_embd,
            "n_layers": self.n_layer,
            "n_heads": self.n_head,
            "n_kv_heads": None,
            "d_ff": self.n_inner or 4 * self.n_embd,
            "feed_forward": _UNGATED[self.activation_function],
            "norm": "layernorm",
            "norm_position": "pre",
            "norm_eps": self.layer_norm_epsilon,
            "positions": "learned",
            "rope_theta": 10000.0,
            "window": None,
            "qk_norm": False,
            "tie_embeddings": self.tie_word_embeddings,
            "bias": True,
        }
        return ModelConfig.parse({**_OURS_ALONE, **switches})


_KINDS: dict[str, type[TheirSettings]] = {kind.name(): kind for kind in (LlamaConfig, Qwen3Config, GPT2Config)}


def read_settings(folder: Path) -> tuple[TheirSettings, ModelConfig]:
    """What config.json in a folder says, and our configuration of the same model.

    Raises:
        ValueError: when it is missing or broken, or when our model cannot compute what the other one computes.
    """
    path = folder / "config.json"
    values = read_object(path)
    kind = values.get("model_type")
    if kind not in list(_KINDS):
        raise ValueError(f"{path}: model_type: must be one of {', '.join(_KINDS)}, got {kind!r}")
    try:
        settings = _KINDS[kind].parse(values)
        return settings, settings.ours()
    except ValueError as error:
        raise ValueError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def read_object(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: when it is missing, or holds something else.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: must hold an object, got {str(values)[:40]}")
    return values
