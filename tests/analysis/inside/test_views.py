"""The views of whole models: any shape of model, any text and tokenizer gives a sensible page."""

from typing import Any

import numpy as np
import pytest
import torch

from lm.analysis.inside.model_views import model_views
from lm.analysis.inside.reading import batch_of, read
from lm.analysis.inside.text_views import patch_views
from lm.analysis.views import Attention, Bars, Grid, Tokens, Topic, as_json, topic_from_json
from lm.tokenizer.learning import bytes_alone
from lm.tokenizer.tokenizer import Tokenizer
from tests.small import random_model, tokenizer_config
from tests.tokenizer.test_tokenizer import tokenizer

BYTES = bytes_alone(tokenizer_config(kind="byte"))
DOCUMENTS = [np.array([*BYTES.encode(text), BYTES.end_id]) for text in ("The fox met the hen.", "A", "")]


@pytest.mark.parametrize("text", ["", "a", "Lily had a red ball. Tom wanted the " * 9, "<|user|>\0\n👩‍👩‍👧‍👦 é"])
@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("byte", {"context_length": 24, "n_heads": 4, "n_kv_heads": 2, "qk_norm": True}),
        ("byte", {"context_length": 3, "norm_position": "post", "positions": "alibi", "bias": True}),
        ("bpe", {"context_length": 128, "norm": "none", "positions": "none", "window": 2, "zero_init": True}),
    ],
)
def test_any_text_has_all_its_views(text: str, kind: str, switches: dict[str, Any]) -> None:
    spoken: Tokenizer = BYTES if kind == "byte" else tokenizer("bpe")
    model = random_model(spoken.vocab_size, **switches)
    views = model_views(model, spoken, text, DOCUMENTS if kind == "byte" else [])
    topic = Topic("model", "Model", views)
    assert topic_from_json(as_json(topic)) == topic
    kinds = [view.kind for view in views]
    speaks_twice = ["grid", "bars"] if switches["context_length"] > 4 else []
    worth = ["bars"] if kind == "byte" else []
    assert kinds == ["tokens", "attention", "grid", "bars", *speaks_twice, "table", *worth, "table", "curves", "curves",
                     "table"]  # fmt: skip
    losses, attention = views[0], views[1]
    assert isinstance(losses, Tokens)
    assert isinstance(attention, Attention)
    n_tokens = min(switches["context_length"], 1 + len(spoken.encode(text)))
    assert len(losses.tokens) == n_tokens + 1  # what comes next
    assert len(attention.tokens) == min(96, n_tokens)


def test_the_parts_in_the_picture_add_up_to_the_logit() -> None:
    model = random_model(BYTES.vocab_size, context_length=24)
    bars = model_views(model, BYTES, "The fox")[3]
    assert isinstance(bars, Bars)
    with torch.no_grad():
        logits = model(read(BYTES, "The fox", 24).ids[None])[0, -1]
    assert sum(value or 0 for value in bars.values) == pytest.approx(float(logits.max() - logits.mean()), rel=2e-3)
    assert bars.labels[:3] == ("embedding", "head 0.0", "head 0.1")


def test_a_reading_keeps_the_end_of_a_text_and_says_what_it_left_out() -> None:
    reading = read(BYTES, "abcdef", 4)
    assert [*reading.tokens] == ["c", "d", "e", "f"]
    assert reading.n_cut == 3  # the end token too
    assert read(BYTES, "", 4).ids.tolist() == [BYTES.end_id]
    assert len(read(BYTES, "<|user|>", 99, allow_special=True).ids) == 2


def test_a_batch_of_documents_counts_each_of_their_tokens_once() -> None:
    batch = batch_of([np.array([5, 6, 7, 0]), np.array([8, 0])], end_id=0, most=3)
    assert batch.inputs.tolist() == [[0, 5, 6], [0, 8, 0]]
    assert batch.targets.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.weights.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_the_same_text_brings_no_difference_and_another_length_is_a_mistake() -> None:
    model = random_model(BYTES.vocab_size, context_length=24)
    text, other = read(BYTES, "The fox", 24), read(BYTES, "The hen", 24)
    assert patch_views(model, BYTES, text, text) == []
    stream, heads = patch_views(model, BYTES, text, other)
    assert isinstance(stream, Grid)
    assert isinstance(heads, Grid)
    assert stream.columns[-3:] == ("f / h", "o / e", "x / n")
    assert stream.values[-1][-1] == 1
    with pytest.raises(ValueError, match=r"^must have as many tokens as the text, 8, got 2$"):
        patch_views(model, BYTES, text, read(BYTES, "T", 24))
