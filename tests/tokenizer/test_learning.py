"""Tests of lm/tokenizer/learning.py: the tokenizers that are learned, first of all against Hugging Face's trainer."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.alphabet import spell
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import bytes_alone, learn_bpe, learn_bpe_with_library, learn_characters
from tests.project import ROOT
from tests.small import DOCUMENTS, TOKENIZER, texts, tokenizer_config

# Few letters give many ties and many overlapping merges; whole sentences give long words and everything else.
few_letters = st.text("ab", max_size=14) | st.text("aaab ", max_size=24) | st.text("abc 'se\n\u3000é", max_size=30)
corpora = st.lists(few_letters | texts | st.sampled_from(DOCUMENTS[:3]), max_size=8)


def merges_of(documents: Sequence[str], **changes: Any) -> list[bytes]:
    """The tokens learned, in order."""
    config = tokenizer_config(**({"special_tokens": []} | changes))
    return learn_bpe(count_texts(documents), config).tokens[257:]


@settings(max_examples=150)
@given(
    corpora,
    st.lists(st.integers(1, 4), max_size=8),
    st.integers(262, 300) | st.just(2000),
    st.integers(1, 5),
    st.lists(st.sampled_from(["<|user|>", "<|bot|>", "<é>", "< >", "Ġ!"]), unique=True, max_size=5),
)
@example(["ab ab", "aaaa", "aaa"], [3, 1, 2], 300, 1, [])
@example([], [], 300, 1, [])
def test_the_file_is_byte_for_byte_what_hugging_faces_trainer_writes(
    documents: list[str], times: list[int], vocab_size: int, min_frequency: int, specials: list[str]
) -> None:
    repeated = [document for document, n in zip(documents, [*times, *[1] * 8], strict=False) for _ in range(n)]
    config = tokenizer_config(vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=specials)
    theirs = learn_bpe_with_library(repeated, config)
    assert learn_bpe(count_texts(repeated), config).definition == theirs.definition


@given(st.lists(st.text("ab ", max_size=12), max_size=6), st.sampled_from(["ab", "Ġa", "aa", "ba", "a", "abab"]))
def test_a_special_token_is_refused_exactly_when_their_trainer_learns_it_too(
    documents: list[str], special: str
) -> None:
    config = tokenizer_config(special_tokens=[special], vocab_size=300)
    message = f"tokenizer.special_tokens: must not be tokens of ordinary text too, got ['{special}']"

    def outcome(learn: Any, corpus: Any) -> str:
        try:
            return str(learn(corpus, config).definition)
        except ValueError as error:
            return str(error)

    without = tokenizer_config(special_tokens=["<|user|>"], vocab_size=300)
    learned = map(spell, learn_bpe(count_texts(documents), without).tokens[2:])
    assert (outcome(learn_bpe, count_texts(documents)) == message) == (special in learned)
    assert outcome(learn_bpe_with_library, documents) == outcome(learn_bpe, count_texts(documents))


@pytest.mark.parametrize("special", ["a", "the", "Ġthe", "é", "Ġ"])  # bytes, merged words, letters that stand for bytes
def test_a_special_token_that_ordinary_text_yields_is_refused(special: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        learn_bpe(count_texts(["the then there"] * 9), tokenizer_config(special_tokens=["<a>", special]))
    assert str(caught.value) == f"tokenizer.special_tokens: must not be tokens of ordinary text too, got ['{special}']"
    learn_bpe(count_texts(["the then there"] * 9), tokenizer_config(special_tokens=["<b>", f"<{special}>"]))


def test_special_tokens_that_are_refused_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"got \['!', 'a'\]$"):
        bytes_alone(tokenizer_config(kind="byte", special_tokens=["a", "<a>", "!"]))


def test_golden_merges_of_a_tiny_corpus() -> None:
    # The words are "aaab" 3 times, " ab" 6 times and "ab" once. So ab comes first, 10 times against 6 for " a" and aa;
    # then " ab", 6 times; then aa before a+ab, both 3 times, because its ids are lower; and what is left.
    documents = ["aaab ab ab"] * 3 + ["ab"]
    learned = learn_bpe(count_texts(documents), tokenizer_config(vocab_size=400, special_tokens=[]))
    assert learned.tokens[257:] == [b"ab", b" ab", b"aa", b"aaab"]
    assert [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges.pairs] == [
        (b"a", b"b"),
        (b" ", b"ab"),
        (b"a", b"a"),
        (b"aa", b"ab"),
    ]


def test_golden_merges_of_a_sentence() -> None:
    # "he" stands 4 times. Of the pairs 3 times in "little" and "the", those whose ids are lowest come first; ids are in
    # the order of the letters, the space after "z", then the new tokens. At last " the", which stands twice; then "an".
    documents = ["the little hen and the little fox sat in the little den"]
    first = [b"he", b"it", b"le", b"lit", b"the", b"tle", b" lit", b" little", b" the", b"an"]
    assert merges_of(documents)[:10] == first


def test_ties_go_to_the_lowest_ids_or_to_the_greatest_bytes() -> None:
    documents = ["ab cd", "ab cd"]  # ab, cd and " c" twice each
    assert merges_of(documents, ties="huggingface") == [b"ab", b"cd", b" cd"]
    assert merges_of(documents, ties="lexicographic") == [b"cd", b"ab", b" cd"]


def test_the_greatest_bytes_are_those_of_the_left_token_and_then_of_the_right_one() -> None:
    # Sennrich's rule as CS336 and others have it: max((count, (left, right))) over tuples of bytes.
    documents = ["ax ay", "ax ay", "é", "é"]
    assert merges_of(documents, ties="lexicographic")[:2] == [b"\xc3\xa9", b"ay"]
    assert merges_of(["zab zb"], ties="lexicographic")[0] == b"zb"
    # A longer token is greater than its own beginning: (b"ab", b"c") before (b"a", b"z").
    assert merges_of(["ab", "ab", "abc", "az"], ties="lexicographic") == [b"ab", b"abc", b"az"]


@settings(max_examples=100)
@given(corpora, st.integers(257, 290), st.integers(1, 3))
def test_lexicographic_merges_are_those_of_the_textbook(
    documents: list[str], vocab_size: int, min_frequency: int
) -> None:
    changes = {"vocab_size": vocab_size, "min_frequency": min_frequency, "ties": "lexicographic"}
    assert merges_of(documents, **changes) == textbook(documents, vocab_size - 257, min_frequency)


def textbook(documents: list[str], n_merges: int, min_frequency: int) -> list[bytes]:
    """Merges found by counting all pairs anew for each (Sennrich et al. 2015, algorithm 1)."""
    counted = count_texts(documents)
    data, words = counted.data.tobytes(), []
    for length in counted.lengths.tolist():
        words.append([bytes([byte]) for byte in data[:length]])
        data = data[length:]
    learned: list[bytes] = []
    while len(learned) < n_merges:
        frequency: dict[tuple[bytes, bytes], int] = {}
        for word, n in zip(words, counted.counts.tolist(), strict=True):
            for i in range(len(word) - 1):
                frequency[word[i], word[i + 1]] = frequency.get((word[i], word[i + 1]), 0) + n
        most, pair = max(((n, pair) for pair, n in frequency.items()), default=(0, (b"", b"")))
        if most < min_frequency:
            break
        learned.append(b"".join(pair))
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == pair:
                    word[i : i + 2] = [b"".join(pair)]
                i += 1
    return learned


@given(corpora, st.integers(257, 290))
def test_the_tokens_of_a_smaller_vocabulary_begin_those_of_a_larger_one(documents: list[str], vocab_size: int) -> None:
    for ties in ("huggingface", "lexicographic"):
        larger = merges_of(documents, vocab_size=300, ties=ties)
        assert merges_of(documents, vocab_size=vocab_size, ties=ties) == larger[: vocab_size - 257]


def test_pairs_that_are_rarer_than_min_frequency_are_left_out() -> None:
    documents = ["ab ab ab cd cd ef"]
    learned = [merges_of(documents, min_frequency=n) for n in (1, 2, 3, 4)]
    assert learned == [[b"ab", b"cd", b" ab", b" cd", b"ef", b" ef"], [b"ab", b"cd", b" ab", b" cd"], [b"ab"], []]


@given(st.lists(texts, max_size=5))
def test_merges_never_cross_words(documents: list[str]) -> None:
    counted = count_texts(documents)
    words, data = [], counted.data.tobytes()
    for length in counted.lengths.tolist():
        words.append(data[:length])
        data = data[length:]
    for token in merges_of(documents, vocab_size=600):
        assert any(token in word for word in words)


def test_a_small_corpus_gives_fewer_tokens() -> None:
    assert merges_of(["abc"], vocab_size=65536) == [b"ab", b"abc"]
    for documents in ([], [""], ["a"], ["a b"[:1], "\n"]):
        small = learn_bpe(count_texts(documents), tokenizer_config(vocab_size=65536, special_tokens=[]))
        assert small.vocab_size == 257
        assert small.decode(small.encode("été")) == "été"


def test_a_vocabulary_without_room_for_merges_encodes_bytes() -> None:
    learned = learn_bpe(count_texts(DOCUMENTS), tokenizer_config(vocab_size=259))
    assert learned.vocab_size == 259
    assert [learned.token_bytes(id) for id in learned.encode("aé")] == [b"a", b"\xc3", b"\xa9"]
    assert learned.definition == bytes_alone(tokenizer_config(kind="byte")).definition


def test_progress_counts_the_tokens_learned() -> None:
    steps: list[int] = []
    learned = learn_bpe(count_texts(DOCUMENTS), tokenizer_config(), steps.append)
    assert sum(steps) == len(learned.merges.pairs) == 320 - 259


@given(corpora)
def test_the_order_of_documents_and_how_the_corpus_is_cut_change_nothing(documents: list[str]) -> None:
    learned = learn_bpe(count_texts(documents), tokenizer_config()).definition
    assert learn_bpe(count_texts(documents[::-1]), tokenizer_config()).definition == learned


LEARN_AGAIN = """
import sys
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe, learn_bpe_with_library, learn_characters
from lm.config.tokenizer import TokenizerConfig
documents, values = eval(sys.argv[1])
config = TokenizerConfig.parse(values)
print(learn_bpe(count_texts(documents), config).sha256)
print(learn_bpe_with_library(documents, config).sha256)
print(learn_characters(count_texts(documents), config).sha256)
"""


def test_learning_gives_the_same_bytes_whatever_the_order_of_hashes_and_the_number_of_threads() -> None:
    bpe = learn_bpe(count_texts(iter(DOCUMENTS)), tokenizer_config()).sha256
    characters = learn_characters(count_texts(DOCUMENTS), tokenizer_config()).sha256
    for threads, hash_seed in (("1", "1"), ("4", "2")):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", LEARN_AGAIN, repr((DOCUMENTS, TOKENIZER))]
        again = subprocess.run(command, env=env, check=True, capture_output=True, text=True, cwd=ROOT)
        assert again.stdout.split() == [bpe, bpe, characters]


def test_the_most_frequent_characters_are_chosen_in_the_order_of_unicode_and_ties_go_to_the_first() -> None:
    def chosen(documents: list[str], **changes: Any) -> list[str]:
        config = tokenizer_config(**({"kind": "char", "special_tokens": []} | changes))
        return learn_characters(count_texts(documents), config).tokens

    documents = ["ccc bb", "éé🦊🦊a"]
    assert chosen(documents) == [END_OF_TEXT, " ", "a", "b", "c", "é", "\ufffd", "🦊"]
    assert chosen(documents, vocab_size=3) == [END_OF_TEXT, "c", "\ufffd"]
    assert chosen(documents, vocab_size=4) == [END_OF_TEXT, "b", "c", "\ufffd"]
    assert chosen(documents, vocab_size=5) == [END_OF_TEXT, "b", "c", "é", "\ufffd"]
    assert chosen(documents, vocab_size=7) == [END_OF_TEXT, " ", "b", "c", "é", "\ufffd", "🦊"]
    assert chosen(documents, min_frequency=2) == [END_OF_TEXT, "b", "c", "é", "\ufffd", "🦊"]
    assert chosen(documents, min_frequency=3) == [END_OF_TEXT, "c", "\ufffd"]
    assert chosen(documents, vocab_size=4, special_tokens=["<a>"]) == [END_OF_TEXT, "<a>", "c", "\ufffd"]
    assert chosen([]) == [END_OF_TEXT, "\ufffd"]
    assert chosen(["\ufffd" * 9, "a"], vocab_size=3) == [END_OF_TEXT, "a", "\ufffd"]


@given(st.lists(texts, max_size=5), st.integers(3, 40), st.integers(1, 3))
def test_characters_are_counted_as_python_counts_them(
    documents: list[str], vocab_size: int, min_frequency: int
) -> None:
    config = tokenizer_config(kind="char", special_tokens=[], vocab_size=vocab_size, min_frequency=min_frequency)
    learned = learn_characters(count_texts(documents), config)
    text = "".join(documents).replace("\ufffd", "")
    frequent = [character for character in sorted(set(text)) if text.count(character) >= min_frequency]
    most = sorted(frequent, key=text.count, reverse=True)[: vocab_size - 2]
    assert learned.tokens == [END_OF_TEXT, *sorted([*most, "\ufffd"])]


@pytest.mark.parametrize("special", ["a", "\ufffd", "🦊"])
def test_a_special_token_that_is_a_character_of_the_text_is_refused(special: str) -> None:
    config = tokenizer_config(kind="char", special_tokens=[special])
    with pytest.raises(ValueError, match=rf"^tokenizer\.special_tokens: must not be .* got \['{special}'\]$"):
        learn_characters(count_texts(["a 🦊"]), config)


@pytest.mark.parametrize("special", ["a", "é", "Ġ"])
def test_a_special_token_that_is_a_byte_is_refused(special: str) -> None:
    config = tokenizer_config(kind="byte", special_tokens=[special])
    with pytest.raises(ValueError, match=rf"^tokenizer\.special_tokens: must not be .* got \['{special}'\]$"):
        bytes_alone(config)
