"""Tests of lm/analysis/corpus/: planted copies and duplicates, known laws, hashing and matching against brute force."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.analysis.corpus.copies import copied, longest_copy, novel_share
from lm.analysis.corpus.counts import (
    commonest,
    commonest_openings,
    fit_power_law,
    frequency_by_rank,
    hashes,
    heaps_law,
    vocabulary_growth,
    zipf_law,
)
from lm.analysis.corpus.near_duplicates import jaccard, near_duplicates
from lm.analysis.corpus.sample import CorpusSample, read_part
from lm.analysis.corpus.views import text_views
from lm.analysis.corpus.words import END, Vocabulary, WordArray
from lm.analysis.views import Table, as_json, topic_from_json
from lm.corpus.document import Document
from lm.corpus.text_file import DocumentWriter, read_documents

some_texts = st.lists(st.text("ab ", max_size=16), min_size=1, max_size=4)


def write(path: Path, texts: list[str]) -> Path:
    with path.open("wb") as file:
        writer = DocumentWriter(file)
        for text in texts:
            writer.write(Document("train", text))
    return path


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def test_words_are_numbered_as_they_are_met() -> None:
    vocabulary = Vocabulary()
    array = vocabulary.number(["The cat, the", "", "dog"])
    assert array.ids.tolist() == [0, 1, 2, 0, END, END, 3, END]
    assert array.lengths.tolist() == [4, 0, 1]
    assert [one.tolist() for one in array.documents()] == [[0, 1, 2, 0], [], [3]]
    assert array.part(1, 9).ids.tolist() == [END, 3, END]
    assert array.part(3, 9).ids.tolist() == []
    assert vocabulary.spell([3, 1]) == "dog cat"
    assert vocabulary.number(["a dog"]).ids.tolist() == [4, 3, END]
    assert vocabulary.spell([4]) == "a"


@given(some_texts, some_texts)
def test_copies_are_those_of_brute_force(texts: list[str], source: list[str]) -> None:
    vocabulary = Vocabulary()
    own, other = vocabulary.number(texts), vocabulary.number(source)
    lengths = copied(own.ids, other.ids)
    known = {n: {gram for text in source for gram in grams(text.split(), n)} for n in range(1, 17)}
    for document, text in enumerate(texts):
        words, end = text.split(), int(own.ends[document])
        expected = [
            max((n for n in range(1, len(words) - i + 1) if tuple(words[i : i + n]) in known[n]), default=0)
            for i in range(len(words))
        ]
        assert lengths[end - len(words) : end].tolist() == expected
        assert longest_copy(lengths, own)[document] == max(expected, default=0)
        for n in (1, 2, 3):
            new = [gram not in known[n] for gram in grams(words, n)]
            share = novel_share(lengths, own, n)[document]
            assert share == pytest.approx(np.mean(new)) if new else np.isnan(share)


def test_a_planted_copy_of_forty_words_is_found() -> None:
    vocabulary = Vocabulary()
    source = vocabulary.number([f"begin{i} " + " ".join(f"w{i}x{j}" for j in range(60)) for i in range(3)])
    planted = " ".join(f"w1x{j}" for j in range(7, 47))
    text = vocabulary.number([f"fresh words, {planted} and more", "nothing here"])
    lengths = copied(text.ids, source.ids)
    assert longest_copy(lengths, text).tolist() == [40, 0]
    assert novel_share(lengths, text, 40)[0] == pytest.approx(5 / 6)  # 45 words, so 6 places, one of them the copy


def test_copies_of_pairs_from_a_large_vocabulary_are_found() -> None:  # so large that keys clash in the hash table
    pairs = np.random.default_rng(0).permutation(40_000).astype(np.int32).reshape(-1, 2)
    own, other = (np.insert(part.flatten(), len(part) * 2, END) for part in (pairs[:5000], pairs[::2]))
    lengths = copied(own, other)
    assert lengths[:-1].reshape(-1, 2).tolist() == [[2, 1], [0, 0]] * 2500


@given(some_texts, st.integers(1, 4))
def test_hashes_tell_sequences_apart(texts: list[str], n: int) -> None:
    vocabulary = Vocabulary()
    array = vocabulary.number(texts)
    starts, values = hashes(array, n)
    found = [tuple(array.ids[start : start + n].tolist()) for start in starts]
    assert len(found) == sum(len(grams(text.split(), n)) for text in texts)
    assert all(
        (a == b) == (x == y) for a, x in zip(found, values, strict=True) for b, y in zip(found, values, strict=True)
    )


def test_a_text_made_by_zipfs_law_has_its_exponent() -> None:
    counts = [round(20000 / rank) for rank in range(1, 1200)]
    ids = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    ranks, found = frequency_by_rank(WordArray(np.append(ids, np.int32(END))))
    assert found[0] == 20000
    law = zipf_law(ranks, found)
    assert law is not None
    assert law.exponent == pytest.approx(-1, abs=0.01)  # counts are rounded
    assert law(np.array([100.0]))[0] == pytest.approx(200, rel=0.02)
    assert fit_power_law(np.array([3.0]), np.array([4.0])) is None


def test_the_vocabulary_grows_as_words_are_met() -> None:
    words = [f"w{i}" for n in range(60) for i in range(2 * n + 1)]  # after n * n words, 2 n - 1 different ones
    read, different = vocabulary_growth(Vocabulary().number([" ".join(words)]))
    assert different.tolist() == [len(set(words[: int(n)])) for n in read]
    law = heaps_law(read, different)
    assert law is not None
    assert law.exponent == pytest.approx(0.5, abs=0.02)


def test_the_commonest_sequences_and_openings() -> None:
    vocabulary = Vocabulary()
    texts = ["Once upon a time", "once upon a hill", "Once  upon\na time"]
    array = vocabulary.number(texts)
    assert commonest(array, vocabulary, 2, 3) == [("once upon", 3), ("upon a", 3), ("a time", 2)]
    assert commonest(array, vocabulary, 5, 3) == []
    assert commonest_openings(texts, 3, 1) == [("Once upon a", 2)]


def test_a_planted_near_duplicate_is_found() -> None:
    texts = [" ".join(f"w{i}x{j}" for j in range(100)) for i in range(20)]
    texts[17] = texts[4].replace("w4x50", "changed")  # 96 sequences of five words, of which 5 change
    pairs = near_duplicates(Vocabulary().number([*texts, "too short"]), 0.7)
    assert [(pair.first, pair.second) for pair in pairs] == [(4, 17)]
    assert pairs[0].alike == pytest.approx(91 / 101)


def test_many_equal_documents_are_each_compared_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[None] = []

    def counting(a: np.ndarray, b: np.ndarray) -> float:
        compared.append(None)
        return jaccard(a, b)

    monkeypatch.setattr("lm.analysis.corpus.near_duplicates.jaccard", counting)
    texts = [" ".join(f"w{j}" for j in range(60)) + f" end{i % 7}" for i in range(300)]
    pairs = near_duplicates(Vocabulary().number(texts), 0.7)
    assert [(pair.first, pair.second) for pair in sorted(pairs, key=lambda pair: pair.second)] == [
        (0, number) for number in range(1, 300)
    ]
    assert len(compared) == 299


def test_a_small_file_is_read_whole_and_a_large_one_in_places(tmp_path: Path) -> None:
    texts = [f"document {i}, é\nof {'two ' * (i % 7)}lines" for i in range(3000)]
    path = write(tmp_path / "text", texts)
    assert read_part(path, path.stat().st_size) == list(read_documents(path)) == texts
    part = read_part(path, 32 * 500)
    assert set(part) <= set(texts)
    assert len(part) == len(set(part))
    assert 0.5 < len("".join(part).encode()) / (32 * 500) < 1.1
    assert part[0] == texts[0]
    assert max(texts.index(text) for text in part) > 2900  # from all over the file
    long = write(tmp_path / "long", ["a" * 3_000_000])
    assert [len(text) for text in read_part(long, 100)] == [2**20]
    assert read_part(write(tmp_path / "empty", []), 100) == []


def test_of_few_validation_documents_half_are_the_reference() -> None:
    valid = [f"text {i}" for i in range(5)]
    sample = CorpusSample([], valid, whole=True, n_compared=200)
    assert (sample.compared_texts, sample.reference_texts) == (valid[:3], valid[3:])
    sample = CorpusSample([], valid, whole=True, n_compared=2)
    assert (sample.compared_texts, sample.reference_texts) == (valid[:2], valid[2:4])


def test_the_views_say_what_is_twice_and_what_is_shared() -> None:
    texts = [f"Once upon a time number {i} sat there and then went {'very ' * 5}far away." for i in range(30)]
    sample = CorpusSample([*texts, texts[3]], [texts[5], "All new."], whole=False)
    topic = text_views(sample, np.array([20] * 31))
    assert topic_from_json(as_json(topic)) == topic
    overview = topic.views[0]
    assert isinstance(overview, Table)
    rows = {row[0]: row[1] for row in overview.rows}
    assert rows["training documents that repeat an earlier one"] == 1
    assert rows["validation documents that stand among the training documents"] == 1
    assert rows["training documents looked at"] == 31
    assert "31 documents" in topic.notes[0]
    empty = text_views(CorpusSample([], [], whole=True), np.empty(0, np.int64))
    assert not empty.views
    assert empty.notes
