"""Training steps of our model and of its peers, each with its own model of the same size.

A step is everything from ids to new weights: forward, loss, backward, clipping to norm 1, AdamW. All start from random
weights, without dropout. The peers get the settings that are best for them: PyTorch's fused attention, its fused AdamW,
no key/value cache. They use their own loss, over all logits; `compiled` compiles it with the model.

litgpt has neither learned positions nor tied embeddings. In the GPT sizes its head is set to its embedding, and it has
no positions, which saves it one addition.
"""

import itertools
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML
from torch import Tensor, nn

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.system.devices import Precision, autocast
from lm.system.memory import keep_freed_memory
from lm.training.batch import Batch
from lm.training.build import build_backend
from lm.training.torch_backend import TorchBackend

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CLIP_NORM = 1.0
PARAMS = Path("params.yaml")

_ANY = {"n_kv_heads": None, "norm_position": "pre", "window": None, "qk_norm": False, "dropout": 0.0}
_GPT = _ANY | {
    "d_ff": None,
    "feed_forward": "gelu",
    "norm": "layernorm",
    "positions": "learned",
    "tie_embeddings": True,
    "bias": True,  # GPT2LMHeadModel always has biases
}
_LLAMA = _ANY | {
    "feed_forward": "swiglu",
    "norm": "rmsnorm",
    "positions": "rope",
    "tie_embeddings": False,
    "bias": False,
}

# The TinyStories model of Stanford's CS336, assignment 1.
_CS336 = _LLAMA | {"context_length": 256, "d_model": 512, "n_layers": 4, "n_heads": 16, "d_ff": 1344}


class Size(NamedTuple):
    """A model and its batch; `model` changes the section of params.yaml."""

    vocab_size: int
    batch_size: int
    model: Mapping[str, Any]
    large: bool = False  # a step takes a CPU minutes

    @property
    def config(self) -> ModelConfig:
        """The section `model` of params.yaml with these changes."""
        return ModelConfig.parse(_section("model") | dict(self.model))


SIZES = {
    "small-1.3m": Size(4096, 32, _GPT | {"context_length": 128, "d_model": 128, "n_layers": 4, "n_heads": 4}),
    "gpt-17.8m": Size(10_000, 16, _GPT | {"context_length": 256, "d_model": 512, "n_layers": 4, "n_heads": 8}),
    "llama-22.7m": Size(10_000, 16, _CS336),
    "llama-22.7m-128": Size(10_000, 128, _CS336, large=True),
    # GPT-2 small, with a vocabulary rounded up as nanoGPT has it.
    "gpt-124m": Size(
        50_304, 32, _GPT | {"context_length": 1024, "d_model": 768, "n_layers": 12, "n_heads": 12}, large=True
    ),
}


class Setting(NamedTuple):
    """How to compute."""

    device: torch.device
    precision: Precision
    compiled: bool


class Training(NamedTuple):
    """A model in training."""

    step: Callable[
        [NDArray[np.int64]], float
    ]  # trains on windows of ids, (batch, context_length + 1); returns the loss
    n_parameters: int


def storyline(size: Size, setting: Setting) -> Training:
    """Our model as the train stage trains it, with its allocator and the accuracy of each batch."""
    keep_freed_memory()
    config = _train_config(size, setting)
    backend = build_backend(config, size.config, size.vocab_size, seed=0)
    assert isinstance(backend, TorchBackend)
    n_done = itertools.count()

    def step(windows: NDArray[np.int64]) -> float:
        measurement, _ = backend.gradient([Batch.of_windows(windows)], (0, next(n_done)))
        backend.update(config.learning_rate)
        return measurement.loss

    return Training(step, backend.model.n_parameters)


def transformers(size: Size, setting: Setting) -> Training:
    """Hugging Face's GPT2LMHeadModel or LlamaForCausalLM."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(peer_config(size, use_cache=False), attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    model.loss_type = "ForCausalLM"  # the loss that it uses for GPT-2 by default, with a warning

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        # The model shifts the labels itself, so a sequence has one target less.
        value: Tensor = model(input_ids=inputs, labels=inputs).loss
        return value

    return _peer(model, loss, size, setting)


def litgpt(size: Size, setting: Setting) -> Training:
    """Lightning's litgpt.GPT, on its own without Fabric."""
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    config = size.config
    rope = config.positions == "rope"
    model = GPT(
        Config(
            block_size=config.context_length,
            n_layer=config.n_layers,
            n_embd=config.d_model,
            n_head=config.n_heads,
            vocab_size=size.vocab_size,
            padded_vocab_size=size.vocab_size,
            norm_class_name="RMSNorm" if rope else "LayerNorm",
            mlp_class_name="LLaMAMLP" if rope else "GptNeoxMLP",
            intermediate_size=config.sizes.d_ff,
            rotary_percentage=1.0 if rope else 0.0,
            parallel_residual=False,
            bias=config.bias,
        )
    )
    model.apply(model._init_weights)
    if config.tie_embeddings:
        model.lm_head.weight = model.transformer.wte.weight

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        value: Tensor = chunked_cross_entropy(model(inputs), targets, chunk_size=0)
        return value

    return _peer(model, loss, size, setting)


ENGINES = {"storyline": storyline, "transformers": transformers, "litgpt": litgpt}


def installed(engine: str) -> bool:
    """Whether the library of an engine is installed."""
    return engine == "storyline" or find_spec(engine) is not None


def peer_config(size: Size, *, use_cache: bool) -> "PreTrainedConfig":
    """The settings of a model of this size in transformers; `use_cache` keeps keys and values, for generation."""
    return (_llama if size.config.positions == "rope" else _gpt2)(size, use_cache)


def _gpt2(size: Size, use_cache: bool) -> "PreTrainedConfig":
    from transformers import GPT2Config

    config = size.config
    return GPT2Config(
        vocab_size=size.vocab_size,
        n_positions=config.context_length,
        n_embd=config.d_model,
        n_layer=config.n_layers,
        n_head=config.n_heads,
        n_inner=config.sizes.d_ff,
        activation_function="gelu",  # PyTorch's, as in nanoGPT and ours; the default is in Python and slower
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,  # the default ids are larger than our vocabularies
        eos_token_id=None,
        tie_word_embeddings=config.tie_embeddings,
        use_cache=use_cache,
    )


def _llama(size: Size, use_cache: bool) -> "PreTrainedConfig":
    from transformers import LlamaConfig

    config = size.config
    return LlamaConfig(
        vocab_size=size.vocab_size,
        max_position_embeddings=config.context_length,
        hidden_size=config.d_model,
        intermediate_size=config.sizes.d_ff,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        rms_norm_eps=1e-5,
        tie_word_embeddings=config.tie_embeddings,
        use_cache=use_cache,
    )


def _peer(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], size: Size, setting: Setting) -> Training:
    """A peer's model with the same recipe as ours: the AdamW of the section `train`, in PyTorch's fused version."""
    config = _train_config(size, setting)
    model.to(setting.device).train()
    beta1, beta2 = config.betas
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(beta1, beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
    measure = torch.compile(loss) if setting.compiled else loss

    def step(windows: NDArray[np.int64]) -> float:
        ids = torch.from_numpy(windows).to(setting.device)
        optimizer.zero_grad()
        with autocast(setting.device, setting.precision):
            value = measure(ids[:, :-1], ids[:, 1:])
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        return value.item()

    return Training(step, sum(p.numel() for p in model.parameters()))


def _train_config(size: Size, setting: Setting) -> TrainConfig:
    """The section `train` of params.yaml, with the changes of a case."""
    changes = {
        "backend": "torch",
        "device": setting.device.type,
        "precision": setting.precision,
        "compile": setting.compiled,
        "batch_size": size.batch_size,
        "rows": "windows",  # as peers have it: attention sees the whole row
        "accumulate": 1,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "clip_norm": CLIP_NORM,
    }
    return TrainConfig.parse(_section("train") | changes)


def _section(name: str) -> dict[str, Any]:
    section: dict[str, Any] = _params()[name]
    return section


@cache  # read once, so that a change of the file during a run cannot break the table
def _params() -> dict[str, Any]:
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS)
    return params
