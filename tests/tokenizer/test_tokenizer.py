"""Tests of lm/tokenizer/tokenizer.py: what tokenizers of every kind do."""

import hashlib
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import bytes_alone, learn_bpe, learn_characters
from lm.tokenizer.library import LibraryTokenizer
from lm.tokenizer.load import load_tokenizer, parse_tokenizer
from lm.tokenizer.tokenizer import Tokenizer
from tests.project import ROOT
from tests.small import DOCUMENTS, SPECIALS, texts, tokenizer_config

KINDS = {"bpe": BpeTokenizer, "byte": BpeTokenizer, "char": CharacterTokenizer, "library": LibraryTokenizer}
every_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def tokenizer(kind: str, *specials: str) -> Tokenizer:
    """A tokenizer of each kind, learned from the documents."""
    config = tokenizer_config(kind="bpe" if kind == "library" else kind, special_tokens=list(specials or SPECIALS))
    words = count_texts(DOCUMENTS)
    if kind == "byte":
        return bytes_alone(config)
    if kind == "char":
        return learn_characters(words, config)
    learned = learn_bpe(words, config)
    return digits_apart(learned) if kind == "library" else learned


def digits_apart(learned: Tokenizer) -> Tokenizer:
    """The same tokenizer with each digit cut off as a word: none of ours."""
    values = json.loads(learned.definition)["model"]
    merges = [(left, right) for left, right in values["merges"]]
    theirs = tokenizers.Tokenizer(models.BPE(vocab=values["vocab"], merges=merges))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(list(learned.special_tokens))
    return parse_tokenizer(theirs.to_str())


@cache
def hugging_face(kind: str, *specials: str, special: bool) -> tokenizers.Tokenizer:
    """The library's tokenizer of the same file, which may or may not look for special tokens."""
    theirs = tokenizers.Tokenizer.from_str(tokenizer(kind, *specials).definition)
    theirs.encode_special_tokens = not special
    return theirs


def what_comes_back(kind: str, text: str) -> str:
    """The text after encoding and decoding: unknown characters are lost."""
    if kind != "char":
        return text
    known = {*"".join(DOCUMENTS)}
    return "".join(character if character in known else "\ufffd" for character in text)


@every_kind
def test_each_is_of_its_class(kind: str) -> None:
    assert type(tokenizer(kind)) is KINDS[kind]


@every_kind
@given(text=texts)
@example(text="")
@example(text="".join(chr(i) for i in range(0x300)))
def test_decoding_gives_back_what_was_encoded(kind: str, text: str) -> None:
    assert tokenizer(kind).decode(tokenizer(kind).encode(text)) == what_comes_back(kind, text)


@every_kind
@given(text=texts, broken=st.lists(st.integers(0, 256), max_size=5), place=st.integers(0, 9))
def test_ids_that_come_one_by_one_are_decoded_to_whole_characters(
    kind: str, text: str, broken: list[int], place: int
) -> None:
    learned = tokenizer(kind)
    ids = learned.encode(text)
    pieces = list(learned.decode_iterable(iter(ids)))
    assert "".join(pieces) == learned.decode(ids)
    assert all(pieces)
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in what_comes_back(kind, text)
    # Ids in any order, as a bad model may draw them: what is no UTF-8 comes out as when all is decoded at once.
    ids[place:place] = [id % learned.vocab_size for id in broken]
    assert "".join(learned.decode_iterable(iter(ids))) == learned.decode(ids)


def test_a_character_is_given_out_with_its_last_byte() -> None:
    learned = tokenizer("byte")
    asked: list[int] = []

    def ids() -> Iterator[int]:
        for id in learned.encode("a🦊b"):
            asked.append(id)
            yield id

    pieces = [(piece, len(asked)) for piece in learned.decode_iterable(ids())]
    assert pieces == [("a", 1), ("🦊", 5), ("b", 6)]


@every_kind
@given(text=texts)
def test_hugging_face_reads_the_file_and_gives_the_same_ids(kind: str, text: str) -> None:
    theirs = hugging_face(kind, special=False)
    assert theirs.encode(text).ids == tokenizer(kind).encode(text)
    assert theirs.get_vocab_size() == tokenizer(kind).vocab_size
    assert theirs.token_to_id(END_OF_TEXT) == tokenizer(kind).end_id


@every_kind
@given(text=texts)
@example(text=END_OF_TEXT)
@example(text=f"a{END_OF_TEXT}b<|user|>")
def test_text_that_looks_like_a_special_token_never_yields_one(kind: str, text: str) -> None:
    assert not {*tokenizer(kind).special_tokens.values()}.intersection(tokenizer(kind).encode(text))


@every_kind
def test_special_tokens_have_the_first_ids_and_are_decoded_as_they_are_written(kind: str) -> None:
    ours = tokenizer(kind)
    assert ours.end_id == 0
    assert ours.special_tokens == {END_OF_TEXT: 0, "<|user|>": 1, "<|bot|>": 2}
    assert [ours.decode([id]) for id in range(3)] == [END_OF_TEXT, *SPECIALS]
    assert [ours.token_bytes(id).decode() for id in range(3)] == [END_OF_TEXT, *SPECIALS]
    assert ours.decode([0, *ours.encode("fox"), 1]) == "<|endoftext|>fox<|user|>"


# Special tokens that overlap each other: one begins another, ends it, or holds it.
OVERLAPPING = ["<a>", "<a><b>", "a>", "<b><a>", "><"]
looking_special = st.lists(
    st.sampled_from([*OVERLAPPING, END_OF_TEXT, "<", "a", "b", ">", " ", "<|endof", "text|>"]), max_size=12
).map("".join)


@every_kind
@given(text=looking_special)
@example(text="<a><b>")
@example(text="<a><b><a>")
@example(text="<<a>a>")
@example(text="<a> <a>")
@example(text=f" {END_OF_TEXT} {END_OF_TEXT}{END_OF_TEXT}")
def test_special_tokens_are_found_as_hugging_face_finds_them_if_a_call_allows_it(kind: str, text: str) -> None:
    ours, theirs = tokenizer(kind, *OVERLAPPING), hugging_face(kind, *OVERLAPPING, special=True)
    assert ours.encode(text, allow_special=True) == theirs.encode(text).ids
    if kind != "char":
        assert ours.decode(ours.encode(text, allow_special=True)) == text


@every_kind
def test_where_special_tokens_overlap_the_first_and_of_those_the_longest_is_meant(kind: str) -> None:
    ours = tokenizer(kind, *OVERLAPPING)
    special = ours.special_tokens
    assert ours.encode("<a><b>", allow_special=True) == [special["<a><b>"]]
    assert ours.encode("<a><b><a>", allow_special=True) == [special["<a><b>"], special["<a>"]]
    assert ours.encode("a><b>", allow_special=True) == [special["a>"], *ours.encode("<b>")]


@every_kind
@given(batch=st.lists(texts | looking_special, max_size=5), allow_special=st.booleans())
@example(batch=["", END_OF_TEXT, "", f"{END_OF_TEXT}{END_OF_TEXT}"], allow_special=True)
@example(batch=[], allow_special=True)
def test_a_batch_is_encoded_as_its_texts_are(kind: str, batch: list[str], allow_special: bool) -> None:
    ours = tokenizer(kind, *OVERLAPPING)
    alone = [ours.encode(text, allow_special=allow_special) for text in batch]
    assert ours.encode_batch(batch, allow_special=allow_special) == alone
    assert ours.encode_batch(tuple(batch), allow_special=allow_special) == alone


@every_kind
@pytest.mark.parametrize("text", [chr(0xD800), "a" + chr(0xDFFF), chr(0xD83E) + chr(0xDD8A), chr(0xDCFF)])
def test_half_a_character_is_one_clear_error(kind: str, text: str) -> None:
    ours = tokenizer(kind)
    for encode in (
        ours.encode,
        lambda text: ours.encode(text, allow_special=True),
        lambda text: ours.encode_batch(["a", text]),
        lambda text: list(ours.encode_iterable(["a", text])),
    ):
        with pytest.raises(ValueError, match=r"surrogates not allowed$") as caught:
            encode(text)
        assert "\n" not in str(caught.value)
    assert ours.encode("a") == ours.encode_batch(["a"])[0]  # and nothing of it stays behind


@st.composite
def chunked(draw: st.DrawFn) -> list[str]:
    """A text cut into chunks anywhere."""
    text = draw(texts | st.text("a b\n\u3000'st1!", max_size=60))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@every_kind
@given(chunks=chunked(), stream_characters=st.integers(1, 20))
@example(chunks=[], stream_characters=1)
@example(chunks=["", ""], stream_characters=1)
def test_a_stream_is_encoded_as_the_whole_text(kind: str, chunks: list[str], stream_characters: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.tokenizer.tokenizer._STREAM_CHARACTERS", stream_characters)
        assert list(tokenizer(kind).encode_iterable(iter(chunks))) == tokenizer(kind).encode("".join(chunks))


@every_kind
@given(
    text=texts | looking_special, stream_characters=st.integers(1, 20), cuts=st.lists(st.integers(0, 60), max_size=6)
)
@example(text=f"a <a><b><a> {END_OF_TEXT}", stream_characters=1, cuts=list(range(40)))
@example(text="<a><b>" * 9 + END_OF_TEXT[:-1], stream_characters=5, cuts=list(range(0, 60, 3)))
def test_a_stream_may_hold_special_tokens_that_lie_in_several_chunks(
    kind: str, text: str, stream_characters: int, cuts: list[int]
) -> None:
    ours, whole = tokenizer(kind, *OVERLAPPING), hugging_face(kind, *OVERLAPPING, special=True).encode(text).ids
    chunks = [text[start:end] for start, end in pairwise([0, *sorted(cuts), len(text)])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.tokenizer.tokenizer._STREAM_CHARACTERS", stream_characters)
        assert list(ours.encode_iterable(chunks, allow_special=True)) == whole
        assert list(ours.encode_iterable(chunks)) == ours.encode("".join(chunks))


@every_kind
@pytest.mark.parametrize("stream_characters", [1, 4, 16])
def test_a_stream_may_be_cut_at_every_place(kind: str, stream_characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.tokenizer.tokenizer._STREAM_CHARACTERS", stream_characters)
    ours = tokenizer(kind)
    for text in ("".join(DOCUMENTS[:3]), "it's  we'll\n\n\n'd 've\u3000\u3000x '' 's a'sb <|endoftext|> 🦊🐔"):
        whole = ours.encode(text)
        assert list(ours.encode_iterable(text)) == whole  # a character at a time
        for cut in range(len(text) + 1):
            assert list(ours.encode_iterable([text[:cut], text[cut:]])) == whole


@pytest.mark.parametrize("kind", ["bpe", "byte", "char"])
def test_memory_does_not_grow_with_a_stream(kind: str) -> None:
    def stream(n_chunks: int) -> Iterator[str]:
        return (f"{i % 999} " * 50 for i in range(n_chunks))

    def peak_bytes(n_chunks: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in tokenizer(kind).encode_iterable(stream(n_chunks), allow_special=True)) > 100 * n_chunks
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1000)  # what is remembered of words is there from now on
    # Ten times as long: what is held is a part of 64 KiB, its ids as Python's numbers, and that is all.
    assert peak_bytes(10_000) < 1.2 * peak_bytes(1000)


@every_kind
@given(ids=st.data())
def test_any_ids_are_decoded_as_by_hugging_face(kind: str, ids: st.DataObject) -> None:
    drawn = ids.draw(st.lists(st.integers(0, tokenizer(kind).vocab_size - 1), max_size=30))
    assert tokenizer(kind).decode(drawn) == hugging_face(kind, special=False).decode(drawn, skip_special_tokens=False)
    assert tokenizer(kind).decode(iter(drawn)) == tokenizer(kind).decode(drawn)


@every_kind
def test_an_id_that_is_none_is_one_clear_error(kind: str) -> None:
    ours = tokenizer(kind)
    for id in (-1, ours.vocab_size, 2**40, -(2**40)):
        message = rf"^id: must be from 0 to {ours.vocab_size - 1}, got {id}$"
        with pytest.raises(ValueError, match=message):
            ours.decode([1, id])
        with pytest.raises(ValueError, match=message):
            ours.token_bytes(id)


# In a process of its own: the run-time check of types in these tests is stricter than `list[i]`.
DECODE_NUMPY = """
import sys
from pathlib import Path
import numpy as np
from lm.tokenizer.load import load_tokenizer
tokenizer = load_tokenizer(Path(sys.argv[1]))
ids = tokenizer.encode("The little fox")
for dtype in (np.uint16, np.uint32, np.int32, np.int64):
    assert tokenizer.decode(np.array(ids, dtype=dtype)) == "The little fox"
    assert tokenizer.decode(list(np.array(ids, dtype=dtype))) == "The little fox"
    assert tokenizer.token_bytes(dtype(ids[0])) == tokenizer.token_bytes(ids[0])
"""


@every_kind
def test_numbers_of_numpy_serve_as_ids(kind: str, tmp_path: Path) -> None:
    tokenizer(kind).save(tmp_path / "tokenizer.json")
    subprocess.run([sys.executable, "-c", DECODE_NUMPY, tmp_path / "tokenizer.json"], check=True, cwd=ROOT)


@every_kind
def test_a_block_of_texts_becomes_their_ids_with_the_end_of_each_in_16_bits(kind: str) -> None:
    assert tokenizer(kind).dtype == np.uint16
    ids = tokenizer(kind).encode_block(b"The fox\xffa\xff\xff")
    assert ids.dtype == np.uint16
    assert ids.tolist() == [*tokenizer(kind).encode("The fox"), 0, *tokenizer(kind).encode("a"), 0, 0]


def test_a_vocabulary_beyond_16_bits_has_ids_of_32() -> None:
    characters = [chr(code) for code in range(0x10000, 0x20000)]
    at_most, one_more = (
        CharacterTokenizer([END_OF_TEXT, *characters[-n:], "\ufffd"], {END_OF_TEXT: 0}) for n in (65534, 65535)
    )
    assert (at_most.vocab_size, at_most.dtype) == (65536, np.dtype(np.uint16))
    assert (one_more.vocab_size, one_more.dtype) == (65537, np.dtype(np.uint32))
    assert one_more.encode("\U0001ffff?") == [65535, 65536]
    assert one_more.decode([65535, 65536, 0]) == "\U0001ffff\ufffd<|endoftext|>"
    assert one_more.encode_block("?\xff".encode("latin-1")).dtype == np.uint32


@every_kind
def test_a_saved_tokenizer_comes_back(kind: str, tmp_path: Path) -> None:
    ours, path = tokenizer(kind), tmp_path / "tokenizer.json"
    ours.save(path)
    again = load_tokenizer(path)
    assert type(again) is type(ours)
    assert again.sha256 == ours.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert again.encode("The little fox's den, 🦊") == ours.encode("The little fox's den, 🦊")
    assert (again.vocab_size, again.end_id, again.special_tokens) == (ours.vocab_size, ours.end_id, ours.special_tokens)
    assert [again.token_bytes(id) for id in range(again.vocab_size)] == [
        ours.token_bytes(id) for id in range(ours.vocab_size)
    ]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


UNPICKLE = """
import pickle, sys
tokenizer, text = pickle.load(sys.stdin.buffer)
ids = tokenizer.encode(text), tokenizer.encode_block(b"a\\xff").dtype
back = tokenizer.decode(tokenizer.encode(text, allow_special=True))
pickle.dump((type(tokenizer).__name__, tokenizer.sha256, *ids, back), sys.stdout.buffer)
"""


@every_kind
def test_a_tokenizer_can_be_sent_to_another_process(kind: str) -> None:
    ours, text = tokenizer(kind), f"The little fox's den, {END_OF_TEXT}"
    ours.encode(text * 9)
    sent = pickle.dumps((ours, text))
    assert len(sent) < 4 * len(ours.definition)  # without what it remembers
    result = subprocess.run([sys.executable, "-c", UNPICKLE], input=sent, check=True, capture_output=True, cwd=ROOT)
    expected: Any = (type(ours).__name__, ours.sha256, ours.encode(text), np.dtype(np.uint16), text)
    assert pickle.loads(result.stdout) == expected
