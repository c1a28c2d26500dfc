"""Tests of lm/tokenizer/merge_trainer.py."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from lm.corpus.stories import tell_stories
from lm.tokenizer import merge_trainer as module
from lm.tokenizer.alphabet import BYTES_IN_ORDER, unspell
from lm.tokenizer.counting import WordCounts, count_texts
from lm.tokenizer.merge_trainer import MergeTrainer, Ties

BYTES = [bytes([byte]) for byte in BYTES_IN_ORDER]
TIES: list[Ties] = ["huggingface", "lexicographic"]

Learned = list[tuple[bytes, bytes, int]]  # left, right, frequency

# Words of few letters, in which pairs overlap and are equally frequent; long runs; and bytes whose ids are not in the
# order of their values (é is C3 A9, which are spelled Ã and ©, and D0 before B6 in ж goes after it by its id).
letters = st.sampled_from(["a", "b", "c", "é", "ж"])
some_words = (
    st.text(st.sampled_from("ab"), min_size=1, max_size=12)
    | st.text(letters, min_size=1, max_size=8)
    | st.builds(lambda letter, n, end: letter * n + end, letters, st.integers(1, 40), st.text(letters, max_size=2))
)
word_counts = st.dictionaries(some_words.map(str.encode), st.integers(1, 4), max_size=8)
sizes_of_the_queue = st.sampled_from([1, 2, 3, module._HOT])
few = st.sampled_from([0, 3, module._FEW])  # occurrences that are merged in a loop: none, some or all of these texts


def counted(words: dict[bytes, int]) -> WordCounts:
    return WordCounts(
        np.frombuffer(b"".join(words), dtype=np.uint8),
        np.array([len(word) for word in words], dtype=np.intp),
        np.array(list(words.values()), dtype=np.int64),
    )


def learn(words: WordCounts, ties: Ties, min_count: int = 1) -> Learned:
    trainer = MergeTrainer(words, BYTES, ties)
    return [
        (trainer.tokens[merge.pair[0]], trainer.tokens[merge.pair[1]], merge.frequency)
        for merge in trainer.merges(min_count)
    ]


def merged(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    done: list[bytes] = []
    for token in word:
        if done and (done[-1], token) == pair:
            done[-1] += token
            done.append(b"")  # so that the product is not taken for the next left half
        else:
            done.append(token)
    return tuple(token for token in done if token)


def recounted(words: dict[tuple[bytes, ...], int]) -> Counter[tuple[bytes, bytes]]:
    counts: Counter[tuple[bytes, bytes]] = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def learn_by_recounting(words: dict[bytes, int], ties: Ties, min_count: int) -> Learned:
    """The textbook: count all pairs, merge the most frequent one in all words, and so on."""
    split = {tuple(bytes([byte]) for byte in word): count for word, count in words.items()}
    ids = {token: id for id, token in enumerate(BYTES)}
    learned: Learned = []
    while counts := recounted(split):
        if ties == "huggingface":
            pair = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        else:
            pair = max(counts, key=lambda pair: (counts[pair], pair))
        if counts[pair] < min_count:
            break
        learned.append((*pair, counts[pair]))
        ids.setdefault(pair[0] + pair[1], len(ids))
        split = {merged(word, pair): count for word, count in split.items()}
    return learned


def learn_with_hugging_face(
    texts: list[str], min_count: int, vocab_size: int = 10_000
) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Its merges, and its tokens by id."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return [(unspell(left), unspell(right)) for left, right in model["merges"]], [unspell(token) for token in tokens]


@given(word_counts, st.sampled_from(TIES), st.integers(1, 3), sizes_of_the_queue, few)
@example({b"a" * n: 1 for n in range(1, 30)}, "huggingface", 1, 1, 0)
@example({b"ab" * n + b"a": n for n in range(1, 9)}, "lexicographic", 1, 2, module._FEW)
def test_merges_and_their_frequencies_are_those_of_a_trainer_that_counts_again_each_time(
    words: dict[bytes, int], ties: Ties, min_count: int, n_hot: int, n_few: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_HOT", n_hot)
        patch.setattr(module, "_FEW", n_few)
        learned = learn(counted(words), ties, min_count)
    assert learned == learn_by_recounting(words, ties, min_count)
    frequencies = [frequency for _, _, frequency in learned]
    assert frequencies == sorted(frequencies, reverse=True)


@given(word_counts, st.integers(1, 3), sizes_of_the_queue, few)
@example({b"a" * n: 1 for n in range(1, 60)}, 1, 1, 0)
@example({b"abab": 2, b"aba": 3, b"bab": 1, b"\xc3\xa9ab": 2}, 1, 3, module._FEW)
def test_merges_and_ids_are_those_of_hugging_face(
    words: dict[bytes, int], min_count: int, n_hot: int, n_few: int
) -> None:
    lines = "\n".join(word.decode() for word, count in words.items() for _ in range(count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_HOT", n_hot)
        patch.setattr(module, "_FEW", n_few)
        trainer = MergeTrainer(count_texts([lines]), BYTES, "huggingface")
        pairs = [(trainer.tokens[left], trainer.tokens[right]) for (left, right), _, _ in trainer.merges(min_count)]
    assert (pairs, trainer.tokens) == learn_with_hugging_face([lines], min_count)


@given(word_counts, st.sampled_from(TIES))
@example({b"=" * n: 1 for n in range(1, 40)}, "huggingface")
def test_each_merge_makes_a_new_token(words: dict[bytes, int], ties: Ties) -> None:
    # Two ways to make one token are ways to read the same bytes; but these bytes are read in the same way wherever a
    # token starts and ends with them, for all pairs are merged in order and runs from the left. So there is one way.
    trainer = MergeTrainer(counted(words), BYTES, ties)
    products = [merge.product for merge in trainer.merges()]
    assert products == list(range(256, len(trainer.tokens)))
    assert len(set(trainer.tokens)) == len(trainer.tokens)


@given(word_counts, st.sampled_from(TIES), few)
@example({b"aaaaaaab": 2, b"abab": 1}, "huggingface", 0)
@example({b"aaaaaaab": 2, b"abab": 1}, "huggingface", module._FEW)
def test_after_each_merge_the_counts_kept_are_those_counted_again(
    words: dict[bytes, int], ties: Ties, n_few: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW", n_few)
        check_counts_after_each_merge(words, ties)


def check_counts_after_each_merge(words: dict[bytes, int], ties: Ties) -> None:
    split = {tuple(bytes([byte]) for byte in word): count for word, count in words.items()}
    trainer = MergeTrainer(counted(words), BYTES, ties)
    done: set[tuple[bytes, bytes]] = set()
    for merge in trainer.merges():
        left, right = (trainer.tokens[id] for id in merge.pair)
        done.add((left, right))
        split = {merged(word, (left, right)): count for word, count in split.items()}
        kept: dict[tuple[bytes, bytes], int] = {}
        for i in range(1, trainer._n_pairs):
            pair = trainer.tokens[trainer._left[i]], trainer.tokens[trainer._right[i]]
            assert pair not in kept
            kept[pair] = int(trainer._count[i])
        counts = recounted(split)
        assert not done & set(counts)
        assert {pair: count for pair, count in kept.items() if count and pair not in done} == counts


@given(st.permutations([(b"abab", 2), (b"ba", 3), (b"aab", 1), (b"bb", 2), (b"bab", 1), (b"aaa", 2)]))
def test_the_order_of_the_words_changes_nothing(words: list[tuple[bytes, int]]) -> None:
    for ties in TIES:
        assert learn(counted(dict(words)), ties) == learn(counted(dict(sorted(words))), ties)


# The words of Sennrich et al. 2015, algorithm 1, with the counts of Stanford's CS336.
SENNRICH = {b"low": 5, b"lower": 2, b"widest": 3, b"newest": 6}


def test_golden_merges_where_ties_go_to_the_lowest_ids() -> None:
    # es and st stand 9 times, and e comes before s. lo and ow stand 7 times; of we, 8 times at first, est takes 6.
    # Then ew and ne and w+est, 6 times each, where e is lowest: and so on to the left, with new tokens last.
    assert learn(counted(SENNRICH), "huggingface") == [
        (b"e", b"s", 9),
        (b"es", b"t", 9),
        (b"l", b"o", 7),
        (b"lo", b"w", 7),
        (b"e", b"w", 6),
        (b"n", b"ew", 6),
        (b"new", b"est", 6),
        (b"d", b"est", 3),
        (b"i", b"dest", 3),
        (b"w", b"idest", 3),
        (b"e", b"r", 2),
        (b"low", b"er", 2),
    ]


def test_golden_merges_where_ties_go_to_the_greatest_bytes() -> None:
    # The example worked in assignment 1 of CS336.
    pairs = [f"{left.decode()} {right.decode()}" for left, right, _ in learn(counted(SENNRICH), "lexicographic")]
    assert pairs[:7] == ["s t", "e st", "o w", "l ow", "w est", "n e", "ne west"]
    assert pairs[7:] == ["w i", "wi d", "wid est", "low e", "lowe r"]


def test_of_equal_beginnings_the_longer_token_is_the_greater_one() -> None:
    # ab is learned first. Then ab+c and b+c are as frequent, as are a+x and ab+x: by their bytes, b goes before ab,
    # and ab before a.
    words = counted({b"ab": 9, b"abc": 2, b"bc": 2, b"ax": 2, b"abx": 2})
    assert learn(words, "lexicographic")[:5] == [
        (b"a", b"b", 13),
        (b"b", b"c", 2),
        (b"ab", b"x", 2),
        (b"ab", b"c", 2),
        (b"a", b"x", 2),
    ]


@pytest.mark.parametrize("ties", TIES)
def test_no_merge_is_rarer_than_the_least_count(ties: Ties) -> None:
    words = counted(SENNRICH)
    everything = learn(words, ties)
    for min_count in range(1, 11):
        assert learn(words, ties, min_count) == [merge for merge in everything if merge[2] >= min_count]


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("words", [{}, {b"a": 3}, {b"a": 1, b"b": 1}])
def test_without_pairs_there_are_no_merges(words: dict[bytes, int], ties: Ties) -> None:
    assert learn(counted(words), ties) == []


def test_a_count_may_be_larger_than_32_bits() -> None:
    words = counted({b"ab": 2**40, b"ba": 2**40 + 1, b"aba": 1})
    assert learn(words, "huggingface") == [(b"b", b"a", 2**40 + 2), (b"a", b"b", 2**40), (b"a", b"ba", 1)]


@pytest.mark.parametrize("min_count", [1, 2, 30])
def test_stories_give_the_merges_and_ids_of_hugging_face(min_count: int) -> None:
    stories = [story.text for story in tell_stories(1, "train", 300)]
    assert sum(map(len, stories)) > 200_000
    trainer = MergeTrainer(count_texts(stories), BYTES, "huggingface")
    pairs = []
    for merge in trainer.merges(min_count):
        pairs.append((trainer.tokens[merge.pair[0]], trainer.tokens[merge.pair[1]]))
        if len(trainer.tokens) == 2_000:
            break
    assert (pairs, trainer.tokens) == learn_with_hugging_face(stories, min_count, vocab_size=2_000)
