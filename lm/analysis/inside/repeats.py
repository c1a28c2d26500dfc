"""Random tokens, said twice: the text on which a model shows whether it can look up what came after.

Nothing in the first copy can be guessed. In the second copy all can, if the model looks back at what followed the same
token before (Olsson et al. 2022, https://arxiv.org/abs/2209.11895). No knowledge of a language helps, so the two losses
tell how much a model learns from its context alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lm.analysis.evaluation import ratio
from lm.analysis.inside.heads import duplicate_token_score, induction_score, previous_token_score
from lm.analysis.inside.recording import Edit, Site, run
from lm.config.model import ModelConfig
from lm.model.transformer import Transformer
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.loss import cross_entropy


@dataclass(frozen=True)
class Repeats:
    """Texts of the end token and `period` random tokens that are said twice."""

    ids: Int64[Tensor, "texts seq"]
    period: int


@dataclass(frozen=True)
class HeadScores:
    """The scores of `lm.analysis.inside.heads`, as means over texts."""

    previous: Float[np.ndarray, "layers heads"]
    duplicate: Float[np.ndarray, "layers heads"]
    induction: Float[np.ndarray, "layers heads"]


@dataclass(frozen=True)
class RepeatLosses:
    """The mean loss of each text in its first copy, and in its second copy but for its first token, in nats."""

    first: Float[np.ndarray, " texts"]
    second: Float[np.ndarray, " texts"]


def draw_repeats(config: ModelConfig, tokenizer: Tokenizer, n_texts: int, seed: int, longest: int = 50) -> Repeats:
    """Texts for a model of this shape: random tokens, each at most once in a copy, special tokens left out.

    A copy has at most `longest` tokens, fewer where the context, the window or the vocabulary asks for it.

    Raises:
        ValueError: when not even two tokens fit twice.
    """
    special = [*tokenizer.special_tokens.values()]
    words = np.setdiff1d(np.arange(tokenizer.vocab_size), special)
    period = min(longest, (config.context_length - 1) // 2, config.window or longest, len(words))
    if period < 2:
        raise ValueError(
            f"model: to say two tokens twice it must see at least 5 tokens, in a window of 2 or more, and know 2, got "
            f"context_length {config.context_length}, window {config.window} and {len(words)} tokens"
        )
    generator = np.random.Generator(np.random.Philox(key=seed))
    rows = []
    for _ in range(n_texts):
        copy = generator.choice(words, period, replace=False)
        rows.append([tokenizer.end_id, *copy, *copy])
    return Repeats(torch.from_numpy(np.array(rows, dtype=np.int64)), period)


@torch.no_grad()
def head_scores(model: Transformer, repeats: Repeats) -> HeadScores:
    """The scores of all heads. What a head gives to the end token at the start counts as looking elsewhere."""
    weights = [layer[..., 1:, 1:].float().cpu().numpy() for layer in model.attention_weights(_on(model, repeats))]
    return HeadScores(
        np.array([previous_token_score(layer).mean(0) for layer in weights]),
        np.array([duplicate_token_score(layer, repeats.period).mean(0) for layer in weights]),
        np.array([induction_score(layer, repeats.period).mean(0) for layer in weights]),
    )


@torch.no_grad()
def repeat_losses(model: Transformer, repeats: Repeats, edits: Mapping[Site, Edit] | None = None) -> RepeatLosses:
    """The losses of the two copies. The first token of the second copy counts in neither: nothing announces it."""
    ids = _on(model, repeats)
    loss = cross_entropy(model.logits(run(model, ids[:, :-1], edits).hidden), ids[:, 1:]).double().cpu().numpy()
    return RepeatLosses(loss[:, : repeats.period].mean(1), loss[:, repeats.period + 1 :].mean(1))


def strongest(scores: Float[np.ndarray, "layers heads"]) -> tuple[int, int]:
    """Layer and head of the highest score."""
    layer, head = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(layer), int(head)


def mean_and_error(losses: Float[np.ndarray, " texts"]) -> tuple[float, float | None]:
    """The mean over texts and its standard error, which is None for a single text."""
    return ratio(losses, np.ones(len(losses)))


def _on(model: Transformer, repeats: Repeats) -> Tensor:
    return repeats.ids.to(model.device)
