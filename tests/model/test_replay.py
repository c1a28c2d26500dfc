"""Tests of lm/model/replay.py, on a machine with a GPU."""

import numpy as np
import pytest
import torch

from lm.model.reader import Reader
from tests.model.configs import VOCAB_SIZE, random_model, small_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


def whole(reader: Reader, texts: list[list[int]]) -> torch.Tensor:
    """The logits after each text, which is read at once."""
    hidden = [reader.hidden(torch.tensor([text], device="cuda"))[0, -1] for text in texts]
    return reader.logits(torch.stack(hidden))


@pytest.mark.parametrize("positions", ["rope", "learned", "alibi"])
def test_tokens_that_are_read_one_by_one_have_the_logits_of_whole_texts(positions: str) -> None:
    """Also when the cache grows, when a text leaves, and when one is there twice."""
    config = small_config(positions=positions, context_length=160, look_back_heads=0)
    reader = Reader(random_model(config).cuda(), "fp32")
    generator = np.random.Generator(np.random.Philox(0))
    texts = [generator.integers(0, VOCAB_SIZE, n).tolist() for n in (3, 20, 60)]
    session = reader.session(len(texts))
    session.refill(range(len(texts)), texts)
    for step in range(80):
        if step == 30:
            session.select([2, 0])
            texts = [texts[2], texts[0]]
        if step == 50:
            session.select([1, 0, 1, 1, 1])
            texts = [list(texts[place]) for place in (1, 0, 1, 1, 1)]
        ids = generator.integers(0, VOCAB_SIZE, (len(texts), 1))
        for text, id in zip(texts, ids[:, 0].tolist(), strict=True):
            text.append(id)
        if step % 10 == 0:
            states, logits = session.read_states(ids)
            torch.testing.assert_close(reader.logits(states), logits)
        else:
            logits = session.read(ids, last=1)
        torch.testing.assert_close(logits[:, -1], whole(reader, texts), rtol=1e-3, atol=1e-4)
