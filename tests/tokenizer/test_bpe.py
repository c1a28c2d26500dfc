"""Tests of lm/tokenizer/bpe.py: ids as Hugging Face and tiktoken give them, for text of every kind."""

import random
import re
import sys
import sysconfig
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import bytes_alone, learn_bpe
from tests.small import DOCUMENTS, SPECIALS, texts, tokenizer_config

ROOT = Path(__file__).parent.parent.parent
WHITE = [" ", "\t", "\n", "\v", "\f", "\r", "\x85", "\xa0", "\u1680", *map(chr, range(0x2000, 0x200B))]
WHITE += ["\u2028", "\u2029", "\u202f", "\u205f", "\u3000"]
# What looks white or invisible and is not White_Space, or is white to Python alone.
NEARLY_WHITE = ["\x1c", "\x1d", "\x1e", "\x1f", "\0", "\u180e", "\u200b", "\u2060", "\ufeff", "\u3164"]


@cache
def source_files() -> list[str]:
    """Python files of this repository and, a part of them, of the standard library."""
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    ours = [path for folder in ("lm", "stages", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path.read_text(encoding="utf-8", errors="replace") for path in [*ours, *library[::4]]]


@cache
def tokenizer() -> BpeTokenizer:
    """A tokenizer of some thousand tokens, learned from source code and from letters of many alphabets."""
    letters = [" ".join(chr(code) * (code % 3 + 1) for code in range(start, start + 64)) for start in (192, 1040, 3648)]
    corpus = [*source_files(), *DOCUMENTS, *letters, "🦊🐔 👩‍👩‍👧‍👦 " * 9, " \n\t" * 99, "a" * 99]
    learned = learn_bpe(count_texts(corpus), tokenizer_config(vocab_size=6000))
    assert learned.vocab_size == 6000
    return learned


@cache
def hugging_face() -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer.from_str(tokenizer().definition)
    theirs.encode_special_tokens = True
    return theirs


@cache
def tiktokens() -> tiktoken.Encoding:
    return tokenizer().to_tiktoken()


def assert_same_ids(batch: list[str]) -> None:
    """Every text has the ids of both libraries and comes back."""
    ours = tokenizer().encode_batch(batch)
    assert ours == [encoding.ids for encoding in hugging_face().encode_batch_fast(batch)]
    assert ours == tiktokens().encode_ordinary_batch(batch, num_threads=1)
    if sum(map(len, ours)) < 10**5:
        assert [tokenizer().decode(ids) for ids in ours] == batch
    else:  # the types of each id checked at run time, as in all tests, take too long
        tokens = tokenizer().tokens
        assert [b"".join(tokens[id] for id in ids).decode() for ids in ours] == batch


@given(st.lists(texts, max_size=4))
@example([""])
@example([])
@example(["a", "", "b"])
def test_ids_are_those_of_hugging_face_and_tiktoken(batch: list[str]) -> None:
    assert_same_ids(batch)


@given(st.text(alphabet="aAéß1٣½ '’sdmtlvre\n\t\u3000-_🦊\u0301\u200d"))
@example("it's I'll we've they're 's''s '' s 'S 'LL ' d")
@example("a'stm 'sd 'lll 'vere 'rere 'v 'r 'l")
@example("12'34's5 's\n's\u3000's")
def test_words_are_cut_as_theirs_where_the_rules_meet(text: str) -> None:
    assert_same_ids([text])


@given(st.text(alphabet=[*WHITE, *NEARLY_WHITE, "a", "1", "!"]))
@example("  ")
@example(" \n a")
@example("\u3000\u3000a")
@example("a \u3000")
def test_white_space_of_every_kind_is_cut_as_theirs(text: str) -> None:
    assert_same_ids([text])


def test_runs_of_white_space_of_every_kind_and_length_are_cut_as_theirs() -> None:
    runs = [one * n + two + end for one in WHITE for n in range(4) for two in WHITE for end in ("", "a", "1", "!")]
    runs += [white * 10**4 + end for white in (" ", "\n", "\u3000") for end in ("", "a")]
    assert_same_ids(runs)


def test_every_unicode_block_has_the_same_ids() -> None:
    starts = [start for start in range(0, sys.maxunicode + 1, 128) if not 0xD800 <= start < 0xE000]
    assert_same_ids(["".join(map(chr, range(start, start + 128))) for start in starts])


@pytest.mark.slow
def test_every_character_beside_others_has_the_same_ids() -> None:
    # All planes in which Unicode has characters, in texts of 1024 of them, so that a failure can be read.
    planes = [range(plane * 0x10000, (plane + 1) * 0x10000) for plane in (0, 1, 2, 3, 14)]
    codes = [code for plane in planes for code in plane if not 0xD800 <= code < 0xE000]
    parts = [map(chr, codes[i : i + 1024]) for i in range(0, len(codes), 1024)]
    assert_same_ids(["".join(f"a{char}1 {char}{char} " for char in part) for part in parts])


def test_characters_of_every_category_come_back() -> None:
    of_category: dict[str, str] = {}
    for code in range(sys.maxunicode + 1):
        of_category.setdefault(unicodedata.category(chr(code)), chr(code))
    assert len(of_category) == 30
    del of_category["Cs"]  # surrogates are half a character: no text holds one
    assert_same_ids(["".join(of_category.values()), *of_category.values()])


@given(
    st.lists(st.sampled_from("👩🏽👨🏿👧👦🦊❤🏴🇫🇷🇩🇪🧑🚀*️⃣1\u200d\ufe0f\u20e3\U000e0067\U000e007f a"), max_size=30).map(
        "".join
    )
)
@example("👩🏽‍🚀👨‍👩‍👧‍👦 ❤️‍🔥 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇫🇷🇩🇪 1️⃣*️⃣")
def test_sequences_of_emoji_have_the_same_ids(text: str) -> None:
    assert_same_ids([text])


def long_words() -> list[str]:
    generator = random.Random(0)
    kinds = {
        "letters": "abcdefghijklmnopqrstuvwxyz",
        "one letter": "a",
        "two letters": "ab",
        "capitals and accents": "abcABCéßñжψ",
        "ideographs": "你好世界",
        "digits": "0123456789",
        "signs": "=-_*#()[]{}<>!?/",
        "emoji": "🦊🐔🐣",
        "everything": "".join(map(chr, range(33, 0x250))),
    }
    return ["".join(generator.choices(characters, k=100_000)) for characters in kinds.values()]


@pytest.mark.parametrize("word", long_words(), ids=lambda word: repr(word[:5]))
def test_very_long_words_have_the_same_ids(word: str) -> None:
    assert_same_ids([word])


@given(st.sampled_from(["a", "ab", "aab", "=", "e", "é", "ing"]), st.integers(100, 300), st.text("ab=é", max_size=3))
def test_repetitive_words_about_as_long_as_the_change_of_algorithm_have_the_same_ids(
    part: str, length: int, end: str
) -> None:
    assert_same_ids([(part * length)[:length] + end])


def test_source_code_has_the_same_ids() -> None:
    assert sum(map(len, source_files())) > 10**6
    assert_same_ids(source_files())


def test_bytes_that_were_no_text_have_the_same_ids() -> None:
    generator = np.random.Generator(np.random.Philox(0))
    data = [generator.integers(0, high, 10_000, dtype=np.uint8).tobytes() for high in (128, 192, 255) for _ in range(5)]
    assert_same_ids([noise.decode(errors="replace") for noise in data])
    assert_same_ids([noise.decode("latin-1") for noise in data])


@given(st.binary(max_size=60))
def test_any_bytes_decoded_with_replacement_have_the_same_ids(data: bytes) -> None:
    assert_same_ids([data.decode(errors="replace")])


@given(st.lists(st.integers(0, 5999) | st.integers(0, 260), max_size=30))
@example([])
@example([0])
def test_any_ids_are_decoded_as_by_hugging_face(ids: list[int]) -> None:
    assert tokenizer().decode(ids) == hugging_face().decode(ids, skip_special_tokens=False)


@given(st.binary(max_size=12))
@example(b"\xf0\x9f\xa6")
@example(b"\xe2\x82\xe2\x82\xac\xed\xa0\x80\xc0\x80\xf5\xff")
def test_any_bytes_are_decoded_as_by_hugging_face_with_a_replacement_for_each_part_that_is_no_utf8(data: bytes) -> None:
    id_of = {tokenizer().token_bytes(id): id for id in range(259)}
    ids = [id_of[bytes([byte])] for byte in data]
    assert tokenizer().decode(ids) == data.decode(errors="replace")
    assert tokenizer().decode(ids) == hugging_face().decode(ids, skip_special_tokens=False)


def test_a_special_token_is_decoded_as_it_is_written_whatever_its_letters() -> None:
    # Hugging Face's decoder takes "é" and "Ġ" for bytes; so theirs is no oracle here.
    specials = ["<é>", "<a b>", "Ġ!", "<日本>", "<\n>"]
    learned = learn_bpe(count_texts([]), tokenizer_config(special_tokens=specials))
    assert [learned.decode([learned.special_tokens[token]]) for token in specials] == specials
    assert [learned.encode(token, allow_special=True) for token in specials] == [[1], [2], [3], [4], [5]]


@given(texts)
def test_the_bytes_of_the_tokens_are_those_of_the_text(text: str) -> None:
    assert b"".join(tokenizer().token_bytes(id) for id in tokenizer().encode(text)) == text.encode()


def test_tokens_are_bytes_by_id() -> None:
    tokens = tokenizer().tokens
    assert tokens == [tokenizer().token_bytes(id) for id in range(6000)]
    assert tokens[:3] == [token.encode() for token in [END_OF_TEXT, *SPECIALS]]
    assert sorted(tokens[3:259]) == [bytes([byte]) for byte in range(256)]
    assert len(set(tokens)) == 6000


def test_merges_make_the_tokens_that_their_halves_spell() -> None:
    merges, tokens = tokenizer().merges, tokenizer().tokens
    for (left, right), product in zip(merges.pairs, merges.products, strict=True):
        assert tokens[product] == tokens[left] + tokens[right]
    assert merges.products == list(range(259, 6000))


@settings(max_examples=15)
@given(st.lists(texts, min_size=1, max_size=6))
def test_what_is_remembered_of_earlier_texts_changes_no_id(batch: list[str]) -> None:
    fresh = [bytes_and_merges().encode(text) for text in batch]
    remembering, forgetting = bytes_and_merges(), bytes_and_merges()
    assert [remembering.encode(text) for text in batch * 2] == fresh * 2
    for most in ("_MOST_WORDS", "_MOST_BYTES"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"lm.tokenizer.encoder.{most}", 3)
            assert [forgetting.encode(text) for text in batch * 2] == fresh * 2


@cache
def _parts() -> tuple[list[bytes], list[tuple[int, int]], dict[str, int]]:
    learned = learn_bpe(count_texts(DOCUMENTS), tokenizer_config())
    return learned.tokens, learned.merges.pairs, learned.special_tokens


def bytes_and_merges() -> BpeTokenizer:
    """A tokenizer that has seen no text."""
    return BpeTokenizer(*_parts())


def test_memory_of_words_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.tokenizer.encoder._MOST_WORDS", 100)
    forgetting = bytes_and_merges()
    for i in range(50):
        forgetting.encode(" ".join(str(i * 1000 + j) for j in range(90)))
        assert len(forgetting._encoder._words) <= 200


def test_tiktoken_has_the_same_special_tokens() -> None:
    theirs = tiktokens()
    assert theirs.n_vocab == tokenizer().vocab_size
    assert theirs.eot_token == tokenizer().end_id == 0
    assert theirs.special_tokens_set == {END_OF_TEXT, *SPECIALS}
    text = f"a{END_OF_TEXT}b <|user|>"
    assert theirs.encode(text, allowed_special="all") == tokenizer().encode(text, allow_special=True)
    assert theirs.encode_ordinary(text) == tokenizer().encode(text)


# Words over two or three letters meet every way in which merges can overlap.
tiny_words = st.lists(st.text("aab", min_size=1, max_size=12) | st.text("abc", min_size=1, max_size=8), max_size=6)


@given(tiny_words, tiny_words, st.integers(257, 290), st.integers(1, 3))
def test_tiktoken_gives_the_ids_of_any_tokenizer_learned_here(
    corpus: list[str], words: list[str], vocab_size: int, min_frequency: int
) -> None:
    # tiktoken merges whatever neighbours spell a token, not only the pair it was learned from. For learned merges this
    # is the same: each is applied wherever it can be, so all texts reach a token by the same pairs.
    config = tokenizer_config(vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=[])
    learned = learn_bpe(count_texts(corpus), config)
    batch = [*corpus, *words, "".join(words)]
    assert learned.encode_batch(batch) == learned.to_tiktoken().encode_ordinary_batch(batch, num_threads=1)


def test_merges_in_another_order_than_their_ids_cannot_be_given_to_tiktoken() -> None:
    tokens = [END_OF_TEXT.encode(), *(bytes([byte]) for byte in range(256)), b"ab", b"bc"]
    a, b, c = (tokens.index(letter) for letter in (b"a", b"b", b"c"))
    in_order = BpeTokenizer(tokens, [(a, b), (b, c)], {END_OF_TEXT: 0})
    assert in_order.to_tiktoken().encode("abc") == in_order.encode("abc") == [257, c]
    turned = BpeTokenizer(tokens, [(b, c), (a, b)], {END_OF_TEXT: 0})
    assert turned.encode("abc") == [a, 258]
    with pytest.raises(ValueError, match=r"^merges: must be in the order of the ids they make, for tiktoken$"):
        turned.to_tiktoken()


def test_a_token_that_its_parts_spell_otherwise_cannot_be_given_to_tiktoken() -> None:
    # "abc" is made of "ab" and "c", but "bc" is merged before "ab": no text has the token. To tiktoken "a" and "bc"
    # make it as well.
    tokens = [END_OF_TEXT.encode(), *(bytes([byte]) for byte in range(256)), b"bc", b"ab", b"abc"]
    a, b, c = (tokens.index(letter) for letter in (b"a", b"b", b"c"))
    odd = BpeTokenizer(tokens, [(b, c), (a, b), (258, c)], {END_OF_TEXT: 0})
    assert odd.encode("abc") == [a, 257]
    with pytest.raises(ValueError, match=r"^merges: "):
        odd.to_tiktoken()


@st.composite
def any_merges(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Tokens and merges of three letters, in the order of the ids they make but else as training may never give."""
    tokens = [END_OF_TEXT.encode(), *(bytes([byte]) for byte in range(256))]
    pairs: list[tuple[int, int]] = []
    letters = [tokens.index(letter) for letter in (b"a", b"b", b"c")]
    for _ in range(draw(st.integers(1, 6))):
        ids = st.sampled_from([*letters, *range(257, len(tokens))])
        left, right = draw(ids), draw(ids)
        if tokens[left] + tokens[right] not in tokens:
            pairs.append((left, right))
            tokens.append(tokens[left] + tokens[right])
    return tokens, pairs


@settings(max_examples=150)
@given(any_merges(), st.lists(st.text("aabc", max_size=30), min_size=1, max_size=4))
def test_tiktoken_is_given_merges_only_if_it_gives_the_same_ids(
    merges: tuple[list[bytes], list[tuple[int, int]]], batch: list[str]
) -> None:
    ours = BpeTokenizer(*merges, {END_OF_TEXT: 0})
    batch = [*batch, "".join(batch) * 9, *(token.decode() for token in ours.tokens[257:])]
    try:
        theirs = ours.to_tiktoken()
    except ValueError as error:
        assert re.match(r"^merges: must .*, for tiktoken", str(error))  # noqa: PT017
        return
    assert ours.encode_batch(batch) == theirs.encode_ordinary_batch(batch, num_threads=1)


@given(texts)
def test_bytes_alone_are_the_bytes_of_the_text(text: str) -> None:
    alone = bytes_alone(tokenizer_config(kind="byte"))
    assert alone.vocab_size == 259
    ids = alone.encode(text)
    assert [alone.token_bytes(id) for id in ids] == [bytes([byte]) for byte in text.encode()]
    assert alone.decode(ids) == text
    theirs = tokenizers.Tokenizer.from_str(alone.definition)
    theirs.encode_special_tokens = True
    assert theirs.encode(text).ids == ids == alone.to_tiktoken().encode_ordinary(text)
