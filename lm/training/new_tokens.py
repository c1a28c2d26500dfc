"""New tokens for a trained model: rows of its own in the embedding, which training then fills with meaning."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lm.formats.model_file import ModelCard, Weights
from lm.formats.parameters import parameter_table
from lm.tokenizer.load import parse_tokenizer
from lm.tokenizer.pretrained import with_special_tokens
from lm.tokenizer.tokenizer import Tokenizer


def with_new_tokens(
    tokenizer: Tokenizer, weights: Weights, card: ModelCard, tokens: Sequence[str]
) -> tuple[Tokenizer, Weights, ModelCard]:
    """Tokenizer and model with these special tokens too; what they have already stays as it is.

    The row of a new token in the embedding, and in a head of its own, starts as the mean of all rows. So a new token is
    at first about as likely as an average one, and takes little from the others (Hewitt 2021,
    https://nlp.stanford.edu/~johnhew/vocab-expansion.html).

    Raises:
        ValueError: when one of the tokens is ordinary text for this tokenizer.
    """
    extended = parse_tokenizer(with_special_tokens(tokenizer.definition, tokens))
    n_new = extended.vocab_size - card.vocab_size
    table = parameter_table(card.config, card.vocab_size)
    longer = {
        name: np.concatenate([weight, np.repeat(weight.mean(axis=0, keepdims=True), n_new, axis=0)])
        if table[name].axes[0] == "vocab_size"
        else weight
        for name, weight in weights.items()
    }
    return extended, longer, replace(card, vocab_size=extended.vocab_size, tokenizer_sha256=extended.sha256)
