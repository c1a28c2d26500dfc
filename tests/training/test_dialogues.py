"""Tests of lm/training/dialogues.py."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.config.special_tokens import CHAT_TOKENS, END_OF_TURN
from lm.corpus.dialogue import Dialogue, Message
from lm.corpus.dialogues.stories import story_dialogues
from lm.model.transformer import Transformer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.build import build_backend
from lm.training.dialogues import DialogueRows, Encoded, encode_dialogues, pack
from lm.training.source import Source
from tests.small import DOCUMENTS, model_config, tokenizer_config, train_config


@cache
def bpe() -> Tokenizer:
    return learn_bpe(count_texts(DOCUMENTS), tokenizer_config(special_tokens=list(CHAT_TOKENS)))


def dialogue(*texts: str, system: str | None = None) -> Dialogue:
    roles = ["user", "assistant"] * len(texts)
    said = [Message(role, text) for role, text in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    return Dialogue((*([Message("system", system)] if system else []), *said))


def made(lengths: list[int]) -> list[Encoded]:
    """Dialogues of these lengths whose ids name them, each with a drawn token at its end."""
    return [
        Encoded(np.full(length, place + 1), (np.arange(length) == length - 1).astype(np.float32))
        for place, length in enumerate(lengths)
    ]


@given(st.lists(st.integers(1, 20), max_size=60), st.integers(20, 30))
def test_a_pack_holds_each_once_and_no_row_too_much(lengths: list[int], capacity: int) -> None:
    rows = pack(lengths, capacity)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    filled = [sum(lengths[place] for place in row) for row in rows]
    assert all(length <= capacity for length in filled)
    # Nothing in a row would have fitted into another one that is fuller than it: no two rows can be joined.
    assert all(a + b > capacity for i, a in enumerate(filled) for b in filled[:i])
    assert len(rows) <= 11 / 9 * -(-sum(lengths) // capacity) + 1 + sum(length > capacity / 2 for length in lengths)


def test_the_fullest_row_that_has_room_is_taken() -> None:
    assert pack([6, 7, 3, 4, 2], 10) == [[1, 2], [0, 3], [4]]
    assert pack([7, 6, 3], 10) == [[0, 2], [1]]  # both rows have room
    assert pack([], 10) == []


@given(st.lists(st.integers(2, 9), min_size=1, max_size=30), st.integers(0, 5), st.integers(0, 40))
def test_an_epoch_holds_every_dialogue_whole_and_a_batch_depends_on_its_numbers_alone(
    lengths: list[int], seed: int, first: int
) -> None:
    rows = DialogueRows(made(lengths), 8, end_id=0)
    assert isinstance(rows, Source)
    n = len(rows)
    epoch = rows.draw(seed, n * 3, n)
    whole = np.concatenate([epoch.inputs, epoch.targets[:, -1:]], axis=1)
    for place, length in enumerate(lengths):
        found = np.argwhere(whole == place + 1)
        assert len(found) == length
        assert len(set(found[:, 0])) == 1
        assert (np.diff(found[:, 1]) == 1).all()
    drawn = epoch.targets[epoch.weights == 1]
    assert sorted(drawn) == [place + 1 for place in range(len(lengths))]
    assert rows.n_weighted == len(lengths)
    assert set(epoch.weights.ravel().tolist()) <= {0.0, 1.0}

    batch = rows.draw(seed, first, 3)
    again = [rows.draw(seed, first + k, 1) for k in range(3)]
    assert (batch.inputs == np.concatenate([part.inputs for part in again])).all()
    assert (batch.weights == np.concatenate([part.weights for part in again])).all()
    spread = rows.spread(n + 5)
    assert len(spread) == n
    assert rows.filled == sum(lengths) / (n * 9)


def test_rows_of_a_validation_are_spread_over_all() -> None:
    rows = DialogueRows(made([4] * 6), 8, end_id=0, packed=False)
    assert rows.spread(3).inputs[:, 0].tolist() == [1, 3, 5]


def test_each_epoch_has_an_order_of_its_own_and_so_has_each_seed() -> None:
    rows = DialogueRows(made([9] * 12), 8, end_id=0)
    orders = [tuple(rows.draw(seed, 12 * epoch, 12).inputs[:, 0]) for seed in (1, 2) for epoch in range(3)]
    assert len(set(orders)) == 6


def test_without_packing_a_row_holds_one_dialogue_and_filling() -> None:
    rows = DialogueRows(made([4, 2]), 8, end_id=0, packed=False)
    assert rows.spread(2).inputs.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [2, 2, 0, 0, 0, 0, 0, 0]]


def test_weight_is_on_what_the_assistant_says_and_the_end_of_its_turn() -> None:
    tokenizer = bpe()
    talk = dialogue("the cat", "the hat", "the mat", "the rat", system="be good")
    (encoded,) = encode_dialogues(tokenizer, [talk], 500).dialogues
    end = tokenizer.special_tokens[END_OF_TURN]
    expected = [*tokenizer.encode("the hat"), end, *tokenizer.encode("the rat"), end]
    assert encoded.ids[encoded.weights == 1].tolist() == expected
    (all_tokens,) = encode_dialogues(tokenizer, [talk], 500, answers_only=False).dialogues
    assert all_tokens.weights.tolist() == [0.0, *[1.0] * (len(encoded.ids) - 1)]


@pytest.mark.parametrize("answer_weight", [0.0, 0.5, 1.0])
def test_an_answer_of_n_tokens_has_its_share_of_the_weight(answer_weight: float) -> None:
    tokenizer = bpe()
    (encoded,) = encode_dialogues(
        tokenizer, [dialogue("a", "the hat", "b", "the rat the cat the mat")], 500, answer_weight=answer_weight
    ).dialogues
    for text in ("the hat", "the rat the cat the mat"):
        n = len(tokenizer.encode(text)) + 1
        of_this = encoded.weights[np.isclose(encoded.weights, n ** (answer_weight - 1))]
        assert len(of_this) >= n
    total = sum((len(tokenizer.encode(text)) + 1) ** answer_weight for text in ("the hat", "the rat the cat the mat"))
    assert encoded.weights.sum() == pytest.approx(total)


def test_what_is_too_long_is_cut_after_an_answer_or_left_out() -> None:
    tokenizer = bpe()
    talk = dialogue("the cat", "the hat", "the mat", "the rat", system="be good")
    whole = len(encode_dialogues(tokenizer, [talk], 500).dialogues[0].ids)
    first = encode_dialogues(tokenizer, [dialogue("the cat", "the hat", system="be good")], 500).dialogues[0]
    # The last id of a row is only predicted.
    assert encode_dialogues(tokenizer, [talk], whole - 1).n_cut == 0
    cut = encode_dialogues(tokenizer, [talk], whole - 2)
    assert (cut.n_cut, cut.n_left_out) == (1, 0)
    assert cut.dialogues[0].ids.tolist() == first.ids.tolist()
    none = encode_dialogues(tokenizer, [talk], len(first.ids) - 2)
    assert (none.dialogues, none.n_cut, none.n_left_out) == ([], 0, 1)
    with pytest.raises(ValueError, match=r"^dialogues: must hold one that fits into the context with its first answer"):
        DialogueRows(none.dialogues, 8, end_id=0)


def test_the_loss_is_that_of_torch_where_other_targets_are_ignored() -> None:
    tokenizer = bpe()
    talks = encode_dialogues(tokenizer, story_dialogues(1, "train", 12, 1400), 1000).dialogues[:6]
    short = [
        Encoded(talk.ids[:60], np.where(np.arange(60) > 30, 1, talk.weights[:60]).astype(np.float32)) for talk in talks
    ]
    batch = DialogueRows(short, 128, tokenizer.end_id).spread(9)
    config, shape = train_config(), model_config(context_length=128)
    backend = build_backend(config, shape, tokenizer.vocab_size, 1)
    loss, _ = backend.measure(batch)
    model = Transformer(shape, tokenizer.vocab_size, 1)
    targets = torch.from_numpy(np.where(batch.weights == 1, batch.targets, -100))
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.inputs))
    assert loss == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())), rel=1e-5
    )
