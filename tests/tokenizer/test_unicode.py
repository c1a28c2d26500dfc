"""Tests of lm/tokenizer/unicode.py."""

from collections.abc import Callable

import numpy as np
import pytest
import tiktoken
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel

from lm.tokenizer.splitting import PATTERN, word_starts
from lm.tokenizer.unicode import LETTER, NUMBER, OTHER, SPACE, class_table

Starts = NDArray[np.intp]

# What each character is put behind, one at a time: a letter takes letters into its word, a number numbers, and so on.
CONTEXTS = {"a": LETTER, "1": NUMBER, ".": OTHER}


def begins(n_bytes: NDArray[np.intp]) -> Starts:
    """Where parts that stand one after another begin."""
    starts: Starts = np.cumsum(n_bytes) - n_bytes
    return starts


def our_starts(text: str) -> Starts:
    return word_starts(text.encode())


def tiktoken_starts(text: str) -> Starts:
    """Tokens are bytes, and a context together with any one byte: these two become one where no word ends between."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    pairs = [bytes([context, byte]) for context in "".join(CONTEXTS).encode() for byte in range(256)]
    ranks |= {pair: 256 + i for i, pair in enumerate(pairs)}
    encoding = tiktoken.Encoding("probe", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    return begins(np.where(encoding.encode_to_numpy(text, disallowed_special=()) < 256, 1, 2))


def classes(codes: list[int], starts: Callable[[str], Starts]) -> list[int]:
    """The class of each code point, told by the context in which no word starts with it."""
    kind = np.full(len(codes), SPACE)
    for context, its_kind in CONTEXTS.items():
        lines = [f"{context}{chr(code)}\n" for code in codes]
        n_bytes = np.array([len(line.encode()) for line in lines])
        is_start = np.zeros(n_bytes.sum(), dtype=np.bool_)
        is_start[starts("".join(lines))] = True
        joined = ~is_start[begins(n_bytes) + 1]
        assert (kind[joined] == SPACE).all(), "no character belongs to two classes"
        kind[joined] = its_kind
    return kind.tolist()


# 65536 code points each. Those without any characters are left to the slow tests.
every_plane = pytest.mark.parametrize(
    "plane",
    [plane if plane in (0, 1, 2, 3, 14) else pytest.param(plane, marks=pytest.mark.slow) for plane in range(17)],
)


def codes_of(plane: int) -> list[int]:
    return [code for code in range(plane << 16, plane + 1 << 16) if not 0xD800 <= code < 0xE000]


@every_plane
@pytest.mark.parametrize("starts", [our_starts, tiktoken_starts])
def test_every_code_point_has_the_class_by_which_words_are_cut(plane: int, starts: Callable[[str], Starts]) -> None:
    codes = codes_of(plane)
    assert classes(codes, starts) == class_table()[codes].tolist()


@every_plane
def test_hugging_face_cuts_no_word_between_characters_of_one_class(plane: int) -> None:
    # It takes long to hand out many words. So all characters of a class stand behind a context that takes them, and
    # are one word with it, as none but those of its class could be.
    table = class_table()
    codes = codes_of(plane)
    pre_tokenizer = ByteLevel(add_prefix_space=False)
    for context, kind in CONTEXTS.items():
        text = context + "".join(chr(code) for code in codes if table[code] == kind)
        assert [span for _, span in pre_tokenizer.pre_tokenize_str(text)] == [(0, len(text))]
        for space in (chr(code) for code in codes if table[code] == SPACE):
            words = pre_tokenizer.pre_tokenize_str(
                f"{context}{space}\n"
            )  # spaces before a space are a word of their own
            assert [span for _, span in words] == [(0, 1), (1, 3)]


def test_golden_sizes_of_the_classes() -> None:
    # Unicode 16.0: 25 characters are White_Space; L* are 1,858 Lu, 2,258 Ll, 31 Lt, 404 Lm and 136,477 Lo; N* are
    # 760 Nd, 236 Nl and 915 No. To be changed on purpose: another version means other words, and other tokens.
    table = class_table()
    assert table.shape == (0x110000,)
    sizes = [int((table == kind).sum()) for kind in (SPACE, LETTER, NUMBER)]
    assert sizes == [25, 1_858 + 2_258 + 31 + 404 + 136_477, 760 + 236 + 915]
