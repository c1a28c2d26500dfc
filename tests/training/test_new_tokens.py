"""Tests of lm/training/new_tokens.py."""

import numpy as np
import pytest

from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Message
from lm.formats.model_file import ModelCard, check_weights
from lm.reference.initial import initial_weights
from lm.tokenizer.chat import can_chat, prompt_ids
from lm.training.new_tokens import with_new_tokens
from tests.small import model_config
from tests.tokenizer.test_tokenizer import every_kind, tokenizer


@every_kind
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_gets_rows_for_new_tokens_and_keeps_the_others(kind: str, tied: bool) -> None:
    old = tokenizer(kind)
    config = model_config(tie_embeddings=tied)
    weights = initial_weights(config, old.vocab_size, 1)
    card = ModelCard(config, old.vocab_size, old.end_id, old.sha256, [])
    new, longer, extended = with_new_tokens(old, weights, card, CHAT_TOKENS)
    assert can_chat(new)
    assert type(new) is type(old)
    assert new.encode("The fox’s den.") == old.encode("The fox’s den.")
    lacking = set(CHAT_TOKENS) - old.special_tokens.keys()
    assert 3 <= len(lacking) <= 4
    assert extended.vocab_size == new.vocab_size == old.vocab_size + len(lacking)
    assert (extended.tokenizer_sha256, extended.end_id) == (new.sha256, old.end_id)
    check_weights(longer, config, new.vocab_size)
    for name in ["embedding.weight"] + ([] if tied else ["head.weight"]):
        np.testing.assert_array_equal(longer[name][: old.vocab_size], weights[name])
        np.testing.assert_allclose(
            longer[name][old.vocab_size :], np.tile(weights[name].mean(0), (len(lacking), 1)), rtol=1e-6
        )
    assert new.decode(prompt_ids(new, [Message("user", "the")])) == "<|endoftext|><|user|>the<|end|><|assistant|>"
