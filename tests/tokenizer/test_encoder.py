"""Tests of lm/tokenizer/encoder.py."""

from random import Random

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from lm.corpus.stories import tell_stories
from lm.corpus.text_file import BOUNDARY
from lm.tokenizer import encoder as module
from lm.tokenizer.alphabet import BYTES_IN_ORDER
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.encoder import Encoder
from lm.tokenizer.merge_trainer import MergeTrainer

STORIES = [story.text for story in tell_stories(2, "train", 40)] + ["été 狐狐狐 🦊🦊 aaaaaaaaaaaaaaaaaaaa"] * 9
END_ID = 0


def learn() -> BpeTokenizer:
    trainer = MergeTrainer(count_texts(STORIES), [b"", *(bytes([byte]) for byte in BYTES_IN_ORDER)], "huggingface")
    pairs = [merge.pair for merge, _ in zip(trainer.merges(2), range(300), strict=False)]
    return BpeTokenizer([b"<|endoftext|>", *trainer.tokens[1:]], pairs, {"<|endoftext|>": END_ID})


TOKENIZER = learn()
HUGGING_FACE = tokenizers.Tokenizer.from_str(TOKENIZER.definition)
HUGGING_FACE.encode_special_tokens = True

known_words = st.sampled_from(" ".join(STORIES[:5]).split(" ")).map(lambda word: f" {word}")
texts = st.lists(
    known_words
    | st.text("aetA \n'狐é", max_size=8)
    | st.text(st.characters(codec="utf-8"), max_size=4)
    | st.builds(lambda letter, n: letter * n, st.sampled_from("aé狐 !"), st.integers(1, 300)),
    max_size=8,
).map("".join)


def new_encoder(dtype: type[np.uint16 | np.uint32] = np.uint16) -> Encoder:
    id_of_byte = np.array([TOKENIZER.tokens.index(bytes([byte])) for byte in range(256)], dtype=np.int32)
    return Encoder(TOKENIZER.merges, id_of_byte, boundary_id=END_ID, dtype=np.dtype(dtype))


def encode(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    return [encoder.encode(text.encode()).tolist() for text in texts]


def expected(texts: list[str]) -> list[list[int]]:
    return [HUGGING_FACE.encode(text).ids for text in texts]


SHARED = new_encoder()  # remembers the words of all examples


@given(texts)
@example("")
@example("a" * 127 + " " + "a" * 128 + " " + "a" * 129 + " " + "b" * 5_000)
def test_ids_are_those_of_hugging_face_whatever_was_encoded_before(text: str) -> None:
    assert encode(SHARED, [text]) == encode(new_encoder(), [text]) == expected([text])


@given(st.lists(texts, max_size=6), st.sampled_from([0, 1, 5, 2**20]), st.sampled_from([0, 1, 5, 2**23]))
@example(["a b c", "a", "b c a", "aa", "a b"], 2, 2**23)
@example(["é狐é狐", "a", "é狐", "狐 a"], 2**20, 4)
@example(["a" * 300, "b" * 300, "a" * 300], 2**20, 500)
def test_ids_do_not_depend_on_how_much_is_remembered(texts: list[str], most_words: int, most_bytes: int) -> None:
    encoder = new_encoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_WORDS", most_words)
        patch.setattr(module, "_MOST_BYTES", most_bytes)
        for text in texts:
            assert encode(encoder, [text]) == expected([text])
            assert len(encoder._words) <= most_words
            assert sum(map(len, encoder._words._long)) <= encoder._n_bytes <= most_bytes


@given(st.lists(texts, max_size=5), st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order_of_the_texts(texts: list[str], random: Random) -> None:
    encoder = new_encoder()
    shuffled = random.sample(texts, len(texts))
    encode(encoder, shuffled)
    assert encode(encoder, texts) == expected(texts)


@given(st.lists(texts, max_size=5))
def test_texts_with_boundaries_between_are_encoded_as_each_by_itself(texts: list[str]) -> None:
    ids = new_encoder().encode(b"".join(text.encode() + BOUNDARY for text in texts))
    assert ids.tolist() == [id for part in expected(texts) for id in (*part, END_ID)]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("text", ["", "a", "The little fox", "été"])
def test_ids_are_of_the_type_asked_for(dtype: type[np.uint16 | np.uint32], text: str) -> None:
    assert new_encoder(dtype).encode(text.encode()).dtype == dtype


def test_stories_have_the_ids_of_hugging_face() -> None:
    encoder = new_encoder()
    assert encode(encoder, STORIES) == expected(STORIES)
    assert encode(encoder, STORIES[::-1]) == expected(STORIES[::-1])


def test_learned_merges_are_applied_to_many_words_at_once() -> None:
    # Only merges in an order that no training gives are done one by one, which is much slower.
    assert TOKENIZER.merges._ordered
    assert len(TOKENIZER.merges.pairs) == 300


def test_the_arrays_that_are_given_stay_as_they_are() -> None:
    id_of_byte = np.arange(256, dtype=np.int32)
    Encoder(TOKENIZER.merges, id_of_byte, boundary_id=7, dtype=np.dtype(np.uint16))
    assert id_of_byte.tolist() == list(range(256))
