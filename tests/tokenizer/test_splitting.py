"""Tests of lm/tokenizer/splitting.py."""

from itertools import accumulate, pairwise

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.splitting import PATTERN, last_cut, word_starts

CONTRACTIONS = ["'s", "'d", "'m", "'t", "'ll", "'ve", "'re"]
WHITE = [
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\x0b",
    "\x0c",
    "\x85",
    "\xa0",
    "\u1680",
    "\u2003",
    "\u2028",
    "\u202f",
    "\u3000",
]

# Text that is hard to cut: what the rules name, what looks like it, and characters of every class and length in UTF-8.
pieces = (
    st.sampled_from(["'", "''", "’", *CONTRACTIONS, *map(str.upper, CONTRACTIONS), "'l", "'v", "'r", "s", "l", "ve"])
    | st.sampled_from([*WHITE, "\0", "\x1c", "\u200b", "\ufeff"])  # the last four are not white in Unicode
    | st.sampled_from(["a", "Z", "é", "ß", "ж", "अ", "狐", "𝒳", "1", "٣", "²", "Ⅷ", "৯", "𝟘", ".", "—", "_", "\u0301"])
    | st.sampled_from(["🦊", "👩‍👩‍👧‍👦", "e\u0301", "🇫🇷", "x" * 70, "狐" * 40, "9" * 70, "!" * 70, "\U00100000"])
    | st.text(st.characters(codec="utf-8"), max_size=3)
)
texts = st.lists(pieces, max_size=12).map("".join)


def words_of(text: bytes) -> list[bytes]:
    return [text[start:end] for start, end in pairwise([*word_starts(text).tolist(), len(text)])]


def hugging_face_words(text: str) -> list[bytes]:
    spelled = ByteLevel(add_prefix_space=False).pre_tokenize_str(text)  # with one character for each byte
    places = accumulate((len(word) for word, _ in spelled), initial=0)
    return [text.encode()[start:end] for start, end in pairwise(places)]


def tiktoken_words(text: str) -> list[bytes]:
    """A word that is a token becomes that token; so where every part of the text is one, tokens are words."""
    parts = {text[i:j].encode() for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += sorted(parts - set(tokens))
    ranks = {token: rank for rank, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("words", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    return encoding.decode_tokens_bytes(encoding.encode_ordinary(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("It's  a fox!", ["It", "'s", " ", " a", " fox", "!"]),
        ("we'll've you're", ["we", "'ll", "'ve", " you", "'re"]),
        ("I'm I'd can't", ["I", "'m", " I", "'d", " can", "'t"]),
        ("IT'S 'sos 'lla '' l''l", ["IT", "'", "S", " '", "sos", " '", "lla", " ''", " l", "''", "l"]),
        ("'so'lla'vex'r", ["'s", "o", "'ll", "a", "'ve", "x", "'", "r"]),
        ("\t's \n 's", ["\t", "'s", " \n", " '", "s"]),
        ("a \n\n b", ["a", " \n\n", " b"]),
        ("a\u3000\u3000b\u3000 c ", ["a", "\u3000", "\u3000", "b", "\u3000", " c", " "]),
        ("12a1²狐🦊狐e\u0301", ["12", "a", "1²", "狐", "🦊", "狐e", "\u0301"]),
    ],
)
def test_golden_words(text: str, words: list[str]) -> None:
    assert [word.decode() for word in words_of(text.encode())] == words


@given(texts)
@example("".join(chr(code) for code in range(0x250)))
@example("".join(white + after for white in WHITE for after in (*WHITE, "a", "é", "'s", ".", "1", "\0")))
def test_words_are_those_that_hugging_face_cuts(text: str) -> None:
    assert words_of(text.encode()) == hugging_face_words(text)


@given(st.lists(pieces, max_size=6).map("".join))
@example("".join(contraction + after for contraction in CONTRACTIONS for after in ("", "s", "'", " ", "1")))
def test_words_are_those_that_tiktoken_cuts(text: str) -> None:
    assert words_of(text.encode()) == tiktoken_words(text)


def test_a_long_text_has_the_words_that_hugging_face_cuts() -> None:
    text = "".join(f"The fox said: \"I'm {i}\u2003years old…\"\r\n\tЁж's not. {'狐' * (i % 50)}" for i in range(2_000))
    assert words_of(text.encode()) == hugging_face_words(text)


@given(st.lists(texts, max_size=5))
@example(["'", "s", " ", "a", "\u3000", " ", "", "'l", "l"])
def test_a_boundary_is_a_word_and_separates_texts_as_if_each_stood_alone(parts: list[str]) -> None:
    expected: list[bytes] = []
    for part in parts:
        expected += [*words_of(part.encode()), BOUNDARY]
    assert words_of(b"".join(part.encode() + BOUNDARY for part in parts)) == expected
    assert words_of(BOUNDARY.join(part.encode() for part in parts)) == expected[:-1]


@given(texts, texts)
@example("aaaaaaaa  \n\n" + "b" * 9, "")  # white space, once at the end of a part, would stay together
@example("aaaaaaaa\u3000\u3000" + "b" * 9, "")
@example("aaaaaaaa" + "\u3000" * 20, "b")
@example("aaaaaaaaa'l", "l")  # what follows may make a contraction
def test_a_text_cut_in_two_has_the_words_of_the_whole_whatever_follows(text: str, more: str) -> None:
    data, follows = text.encode(), more.encode()
    cut = last_cut(data)
    assert words_of(data[:cut]) + words_of(data[cut:] + follows) == words_of(data + follows)


@given(texts, st.integers(1, 9), st.integers(1_000, 1_050), texts)
def test_a_text_longer_than_what_is_looked_at_first_is_cut_as_well(
    text: str, n_letters: int, times: int, more: str
) -> None:
    data, follows = ("  é" * n_letters + text).encode() * times, more.encode()
    cut = last_cut(data)
    assert words_of(data[:cut]) + words_of(data[cut:] + follows) == words_of(data + follows)
    assert cut > 0


@pytest.mark.parametrize(
    "before", [" 's", " 'll", "''s", "é'll", "狐'd", " \u3000 ", "\u3000\u3000'", "🦊 🦊 ", "1狐1"]
)
def test_what_is_looked_at_first_may_begin_anywhere(before: str) -> None:
    # Only the last 4 KiB at first, where the first starts depend on bytes that are not seen.
    for n_letters in range(2**12 - 20, 2**12 + 2):
        data = b"x" * 50 + (before + "a" * n_letters).encode()
        cut = last_cut(data)
        assert words_of(data[:cut]) + words_of(data[cut:]) == words_of(data)


def test_the_cut_is_near_the_end_or_where_the_last_long_word_begins() -> None:
    story = b"The fox said nothing at all. " * 1_000
    assert len(story) - 16 < last_cut(story) < len(story)  # words of 8 bytes at most, and 8 that must follow
    assert last_cut(story[:-1] + b" x" + b"y" * 100_000) == len(story) - 1
    assert last_cut(story[:-1] + "狐".encode() + "狐".encode() * 100_000) == len(story) - 1


@pytest.mark.parametrize("letter", ["a", "é", "狐", "🦊", "1", "'", " ", "\u3000", "\n"])
def test_a_giant_word_has_no_cut(letter: str) -> None:
    assert last_cut((letter * 20_000).encode()) == 0


@pytest.mark.parametrize("text", ["", "a", "a b", "a b c d e f"[:8]])
def test_a_short_text_has_no_cut(text: str) -> None:
    assert last_cut(text.encode()) == 0
