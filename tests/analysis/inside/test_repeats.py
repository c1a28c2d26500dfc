"""Random tokens that are said twice, and a model made by hand that looks them up."""

import numpy as np
import pytest
import torch

from lm.analysis.inside.ablation import without_heads
from lm.analysis.inside.recording import run
from lm.analysis.inside.repeats import Repeats, draw_repeats, head_scores, mean_and_error, repeat_losses, strongest
from lm.model.transformer import Transformer
from lm.tokenizer.learning import bytes_alone
from tests.small import model_config, random_model, tokenizer_config

BYTES = bytes_alone(tokenizer_config(kind="byte"))


def test_each_text_says_its_tokens_twice_after_the_end_token() -> None:
    repeats = draw_repeats(model_config(context_length=64), BYTES, n_texts=3, seed=1)
    assert repeats.period == 31  # twice, and the end token
    ids = repeats.ids.numpy()
    assert (ids[:, 0] == BYTES.end_id).all()
    np.testing.assert_array_equal(ids[:, 1:32], ids[:, 32:])
    assert all(len(set(row[1:32])) == 31 for row in ids.tolist())
    assert not np.isin(ids[:, 1:], [*BYTES.special_tokens.values()]).any()
    again = draw_repeats(model_config(context_length=64), BYTES, n_texts=3, seed=1)
    assert torch.equal(repeats.ids, again.ids)
    assert not torch.equal(repeats.ids, draw_repeats(model_config(context_length=64), BYTES, 3, seed=2).ids)


def test_a_copy_fits_into_window_and_context() -> None:
    assert draw_repeats(model_config(context_length=999), BYTES, 1, seed=0).period == 50
    assert draw_repeats(model_config(context_length=99, window=7), BYTES, 1, seed=0).period == 7
    for changes in ({"context_length": 4}, {"context_length": 9, "window": 1}):
        with pytest.raises(ValueError, match=r"^model: to say two tokens twice it must see at least 5 tokens, "):
            draw_repeats(model_config(**changes), BYTES, 1, seed=0)


def induction_model(vocab_size: int, seq: int) -> Transformer:
    """Two layers of one head each: the first copies the token before into spare room, the second looks for it.

    The stream has room for a token, for the token before it, for the token that was found, and for the place.
    """
    width = 3 * vocab_size + seq
    model = Transformer(
        model_config(
            context_length=seq, d_model=width, n_layers=2, n_heads=1, d_ff=1, norm="none", positions="learned",
            tie_embeddings=False, feed_forward="relu2",
        ),
        vocab_size,
    )  # fmt: skip
    token, before, found, place = torch.split(torch.eye(width), [vocab_size, vocab_size, vocab_size, seq])
    sharp = 50 * width**0.5
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model.embedding.weight.copy_(token)
        model.position_embedding.weight.copy_(place)
        assert model.head is not None
        model.head.weight.copy_(20 * found)
        for block, reads, looks_for, copies, into in (
            (model.blocks[0], place[:-1], place[1:], token, before),  # keys: the place before that of the query
            (model.blocks[1], before, token, token, found),  # keys: where the token before is the query's
        ):
            attention = block.attention
            n = len(looks_for)
            query, key, value = attention.qkv.weight.chunk(3)  # type: ignore[operator, union-attr]
            query[:n], key[:n], value[:vocab_size] = sharp * looks_for, reads, copies
            attention.out.weight[:, :vocab_size] = into.T  # type: ignore[operator, union-attr]
    return model.eval()


def test_a_model_made_to_look_up_has_the_scores_1_and_knows_the_second_copy() -> None:
    vocab_size, period = 12, 5
    model = induction_model(vocab_size, 2 * period + 1)
    generator = np.random.default_rng(0)
    copies = np.array([1 + generator.permutation(vocab_size - 1)[:period] for _ in range(4)])
    repeats = Repeats(torch.from_numpy(np.hstack([np.zeros((4, 1), int), copies, copies])), period)
    scores, losses = head_scores(model, repeats), repeat_losses(model, repeats)
    np.testing.assert_allclose(scores.previous[0, 0], 1, atol=1e-6)
    np.testing.assert_allclose(scores.induction, [[0], [1]], atol=1e-6)
    np.testing.assert_allclose(scores.duplicate, 0, atol=1e-6)
    assert losses.second.max() < 1e-3
    assert losses.first.min() > 1
    assert strongest(scores.induction) == (1, 0)
    # Without either head nothing is found, so that all tokens are alike.
    for layer in (0, 1):
        without = repeat_losses(model, repeats, without_heads([(layer, 0)]))
        assert without.second.min() > 1
    none = repeat_losses(model, repeats, without_heads([(0, 0), (1, 0)]))
    np.testing.assert_allclose(none.second, np.log(vocab_size), rtol=1e-5)


def test_only_the_heads_that_are_named_are_removed() -> None:
    model, ids = random_model(9, n_heads=4), torch.tensor([[1, 2, 3]])
    edited = run(model, ids, without_heads([(0, 1), (0, 3), (1, 0)])).values
    for site, value in edited.items():
        if site.kind == "heads":
            gone = [not value[:, :, head].any() for head in range(4)]
            assert gone == ([False, True, False, True] if site.layer == 0 else [True, False, False, False])


def test_a_mean_has_the_standard_error_of_the_textbook() -> None:
    mean, error = mean_and_error(np.array([1.0, 2, 6]))
    assert mean == 3
    assert error == pytest.approx(np.std([1, 2, 6], ddof=1) / 3**0.5)
    assert mean_and_error(np.array([2.0])) == (2, None)
