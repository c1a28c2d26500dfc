"""Small configurations, texts, token files and models for the tests."""

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from lm.config.model import ModelConfig
from lm.config.special_tokens import END_OF_TEXT
from lm.config.tokenizer import TokenizerConfig
from lm.config.train import TrainConfig
from lm.formats.model_file import ModelCard, save_model
from lm.formats.tokens import TokenFile, TokenWriter
from lm.model.transformer import Transformer
from lm.reference.initial import initial_weights
from lm.reference.transformer import Transformer as NumpyTransformer
from lm.tokenizer.learning import bytes_alone
from lm.tokenizer.tokenizer import Tokenizer

MODEL: dict[str, Any] = {
    "context_length": 8,
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
    "n_kv_heads": None,
    "d_ff": 24,
    "feed_forward": "swiglu",
    "norm": "rmsnorm",
    "norm_eps": 1e-5,
    "norm_position": "pre",
    "positions": "rope",
    "rope_theta": 10000.0,
    "window": None,
    "qk_norm": False,
    "tie_embeddings": True,
    "zero_init": False,
    "look_back_heads": 0,
    "base_width": None,
    "bias": False,
    "dropout": 0.0,
}

TRAIN: dict[str, Any] = {
    "backend": "torch",
    "device": "cpu",
    "precision": "fp32",
    "compile": False,
    "attention": "auto",
    "threads": None,
    "processes": 1,
    "shard": False,
    "recompute": False,
    "steps": 12,
    "tokens": None,
    "batch_size": 4,
    "rows": "windows",
    "accumulate": 1,
    "ramp_steps": 0,
    "optimizer": "adamw",
    "muon_parts": False,
    "learning_rate": 0.01,
    "betas": [0.9, 0.95],
    "eps": 1e-8,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "schedule": "cosine",
    "warmup_steps": 2,
    "decay_fraction": 0.2,
    "final_learning_rate": 0.0,
    "valid_every": 4,
    "valid_sequences": 6,
    "patience": None,
    "if_diverged": "fail",
    "keep": "best",
    "snapshots": [],
}

SPECIALS = ["<|user|>", "<|bot|>"]

TOKENIZER: dict[str, Any] = {
    "kind": "bpe",
    "trainer": "storyline",
    "vocab_size": 320,
    "min_frequency": 1,
    "ties": "huggingface",
    "special_tokens": SPECIALS,
    "pretrained": None,
}

WORDS = ["<unk>", END_OF_TEXT, "a", "fox", "met", "hen", "dog", "the", "and", "sang"]

DOCUMENTS = [
    "Once upon a time there was a little fox who lived in the wood. The fox's den was under the old tree.",
    'The little hen said: "I\'m not afraid!" She had 12 eggs, 3 of them blue, and 1200 reasons.',
    "Été, naïve, Straße, привет, 你好 世界, 🦊🐔 — and\r\n\ttabs,  double  spaces.",
] * 5

# Text of every kind: any character but lone surrogates, and what looks like special tokens or splits oddly.
texts = st.lists(
    st.text(st.characters(codec="utf-8"))
    | st.sampled_from(
        [END_OF_TEXT, *SPECIALS, "<|", "|>", " ", "\n", "\r\n", "'s", "👩‍👩‍👧‍👦", "e\u0301", "\0", "the little"]
    ),
    max_size=8,
).map("".join)


def model_config(**changes: Any) -> ModelConfig:
    """A small model section with some parameters changed."""
    return ModelConfig.parse(MODEL | changes)


def train_config(**changes: Any) -> TrainConfig:
    """A short train section with some parameters changed."""
    return TrainConfig.parse(TRAIN | changes)


def tokenizer_config(**changes: Any) -> TokenizerConfig:
    """A tokenizer section for a small vocabulary with some parameters changed."""
    return TokenizerConfig.parse(TOKENIZER | changes)


def write_tokens(
    folder: Path,
    documents: list[list[int]],
    vocab_size: int = 300,
    name: str = "tokens",
    tokenizer_sha256: str = "ab" * 32,
) -> TokenFile:
    """A token file of these documents, whose end token is 0."""
    path, card = folder / f"{name}.bin", folder / f"{name}.json"
    with TokenWriter(path, card, vocab_size=vocab_size, end_id=0, tokenizer_sha256=tokenizer_sha256) as writer:
        for ids in documents:
            writer.write(np.array([*ids, 0], dtype=np.uint16), n_documents=1, n_bytes=len(ids))
    return TokenFile(path, card)


def words() -> tokenizers.Tokenizer:
    """Words between spaces, which decoding puts between them again."""
    library = tokenizers.Tokenizer(models.WordLevel({word: id for id, word in enumerate(WORDS)}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.add_special_tokens(["<unk>", END_OF_TEXT])
    return library


def write_model(folder: Path, tokenizer: Tokenizer | None = None, *, chat: bool = False, **changes: Any) -> Path:
    """The folder, with a small untrained model in it, beside the tokenizer that it needs: of single bytes by default.

    The weights are drawn wide, so that the predictions differ from token to token.
    """
    folder.mkdir(exist_ok=True)
    tokenizer = tokenizer or bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
    tokenizer.save(folder / "tokenizer.json")
    config = model_config(**({"context_length": 16} | changes))
    weights = initial_weights(config, tokenizer.vocab_size, seed=0)
    card = ModelCard(config, tokenizer.vocab_size, tokenizer.end_id, tokenizer.sha256, [], chat)
    save_model(folder / "model.safetensors", {name: 10 * weight for name, weight in weights.items()}, card)
    return folder


def random_documents(n_documents: int, length: int, vocab_size: int, seed: int = 0) -> list[list[int]]:
    """Documents of ids from 1 on in which each id is mostly one more than the one before: something to learn."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    documents = []
    for _ in range(n_documents):
        steps = np.where(generator.random(length) < 0.8, 1, generator.integers(1, vocab_size, length))
        documents.append([int(id) for id in 1 + np.cumsum(steps) % (vocab_size - 1)])
    return documents


def numpy_twin(model: Transformer) -> NumpyTransformer:
    """The same model in NumPy, with weights of its own."""
    return NumpyTransformer(model.config, {name: w.detach().numpy().copy() for name, w in model.state_dict().items()})


def random_model(vocab_size: int, seed: int = 0, **changes: Any) -> Transformer:
    """A small untrained model whose weights are drawn wide, so that its predictions differ from token to token."""
    model = Transformer(model_config(**changes), vocab_size, seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(10)
    return model.eval()
