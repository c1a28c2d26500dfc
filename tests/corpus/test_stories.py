"""The built-in stories: unambiguous, with exact probabilities, and fit to be read."""

import hashlib
import re
from collections import Counter
from itertools import islice, product
from math import isclose, sqrt
from random import Random

import pytest

import lm.corpus.stories
from lm.config.data import DataConfig
from lm.corpus.document import SEPARATOR, Document
from lm.corpus.stories import derivations, open_stories, tell_stories
from lm.corpus.stories.grammar import Grammar
from lm.corpus.stories.lexicon import LEXICON
from lm.corpus.stories.parsing import parse
from lm.corpus.stories.plots import GRAMMAR, PLOTS
from lm.corpus.stories.proof import clashes
from lm.corpus.stories.source import STORIES
from lm.corpus.stories.telling import tell, total_bits
from lm.corpus.stories.words import Weighted, article, people, table, word, words

TINY = Grammar({"PETS": words("cat, dog, owl"), "NAMES": people("she", "Ann, Anna")}, {"end": "The end(.|!)"})


@pytest.fixture(scope="module")
def stories() -> list[Document]:
    return list(tell_stories(7, "train", 4000))


@pytest.fixture(scope="module")
def texts(stories: list[Document]) -> list[str]:
    return [story.text for story in stories]


# The grammar


def test_marks_of_a_template() -> None:
    nodes = TINY.compile(
        """
        {hero=NAMES} saw
        {a pet=PETS}. {Pet}!
        (
            {He}
            |{A pet} and {his} tail
        ) ran.

        <end>
        """
    )
    text, bits = tell(nodes, iter([0.99, 0.99, 0.99, 0.0]).__next__)
    assert text == "Anna saw an owl. Owl! An owl and her tail ran.\n\nThe end."
    assert len(bits) == 4


@pytest.mark.parametrize("template", ["{PETS", "(a|b", "a)b", "{a b c}", "{SHOES}", "<nobody>"])
def test_a_bad_mark_is_an_error(template: str) -> None:
    with pytest.raises(ValueError, match=r"mark|bracket|must look|no such"):
        TINY.compile(template)


def test_weights_normalise_and_fall() -> None:
    for weighted in [Weighted(1), Weighted(7), *LEXICON.values()]:
        probabilities = [2**-bits for bits in weighted.bits]
        assert isclose(sum(probabilities), 1)
        assert probabilities == sorted(probabilities, reverse=True)
        borders = [0.0, *weighted.bounds, 1.0]
        for probability, low, high in zip(probabilities, borders[:-1], borders[1:], strict=True):
            assert isclose(probability, high - low, rel_tol=1e-9)


def test_all_derivations_of_a_tiny_grammar_make_one() -> None:
    nodes = TINY.compile("{hero=NAMES} has {a pet=PETS}( and {he} is glad|). <end>")
    total = 0.0
    for name, pet, rest, mark in product(
        ["Ann", "Anna"], ["a cat", "a dog", "an owl"], [" and she is glad", ""], ["!", "."]
    ):
        [bits] = parse(nodes, f"{name} has {pet}{rest}. The end{mark}")
        total += 2 ** -total_bits(bits)
    assert isclose(total, 1)


def test_words_come_as_often_as_they_should() -> None:
    nodes = TINY.compile("{PETS}")
    random, n = Random(0), 20_000
    counts = Counter(tell(nodes, random.random)[0] for _ in range(n))
    for text, weight in {"cat": 1 / 5, "dog": 1 / 6, "owl": 1 / 7}.items():
        p = weight / (1 / 5 + 1 / 6 + 1 / 7)
        assert abs(counts[text] - n * p) < 5 * sqrt(n * p * (1 - p))  # five standard deviations


@pytest.mark.parametrize(
    ("template", "n_ways"), [("(a|ab)(bc|c)", 2), ("(a|a)bc", 2), ("({PETS}|dog)", 2), ("(x|)(x|)y", 2)]
)
def test_ambiguity_is_seen_by_parser_and_proof(template: str, n_ways: int) -> None:
    nodes = TINY.compile(template)
    ambiguous = {"(x|)(x|)y": "xy", "({PETS}|dog)": "dog"}.get(template, "abc")
    assert len(list(parse(nodes, ambiguous))) == n_ways
    assert list(clashes(nodes))


@pytest.mark.parametrize("template", ["(a|ab)c", "(very |)old", "{NAMES} Ann", "({PETS} sat|{PETS} ran)"])
def test_what_lookahead_tells_apart_is_no_clash(template: str) -> None:
    assert not list(clashes(TINY.compile(template)))


def test_a_copy_without_its_draw_is_a_clash() -> None:
    assert list(clashes(TINY.compile("({pet=PETS}|nobody) and the {pet}")))
    assert list(clashes(TINY.compile("{pet=PETS} and {pet=PETS}")))


# The stories


def test_no_two_derivations_can_part() -> None:
    assert list(islice(clashes(STORIES), 5)) == []


def test_each_story_has_one_derivation_of_the_reported_probability(stories: list[Document]) -> None:
    for story in stories[:500]:
        assert list(derivations(story.text)) == [story.bits]


def test_foreign_texts_have_no_derivation(texts: list[str]) -> None:
    first = texts[0]
    for text in ["", "Hello.", first + " ", first[:-1], first.replace(" was ", " is ", 1), texts[0] + texts[1]]:
        assert list(derivations(text)) == []


def test_a_changed_name_has_no_derivation(texts: list[str]) -> None:
    for text in texts[:100]:
        hero = _hero(text)
        head, _, tail = text.rpartition(hero)
        assert list(derivations(head + "Zebulon" + tail)) == []


def test_a_story_is_a_function_of_seed_split_and_place() -> None:
    few, many = list(tell_stories(1, "train", 5)), list(tell_stories(1, "train", 20))
    assert many[:5] == few
    assert [story.split for story in few] == ["train"] * 5
    sets = [{story.text for story in tell_stories(*at, 300)} for at in ((1, "train"), (1, "valid"), (2, "train"))]
    assert all(len(texts) == 300 for texts in sets)
    assert len(set.union(*sets)) == 900


def test_the_example_of_the_docs_is_a_plot() -> None:
    match = re.search("'''(.*?)'''", lm.corpus.stories.__doc__ or "", re.DOTALL)
    assert match
    assert not list(clashes(GRAMMAR.compile("<child> <when> " + match[1])))


def test_a_corpus_has_train_then_valid() -> None:
    config = DataConfig.model_construct(n_stories=3, n_valid_stories=2)
    corpus = open_stories(config, 5)
    assert list(corpus.documents) == [*tell_stories(5, "train", 3), *tell_stories(5, "valid", 2)]


def test_birds_bugs_and_neighbors_are_apart() -> None:
    kinds = [{entry[""] for entry in LEXICON[name].words} for name in ("BIRDS", "BUGS", "NEIGHBORS", "WOODLAND")]
    assert len(set.union(*kinds)) == sum(map(len, kinds))


def test_golden_stories() -> None:
    told = [story.text for story in tell_stories(1337, "train", 3)]
    assert told[0].startswith("There once was a shy boy named Max who lived in a crooked house with h")
    assert hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] == "68902af0e8656630"


def test_sizes(texts: list[str]) -> None:
    assert max(map(len, texts)) <= 1150
    assert min(map(len, texts)) >= 450
    assert all(text.isascii() and SEPARATOR not in text for text in texts)


def test_words_and_plots_are_many(texts: list[str]) -> None:
    assert len({word for text in texts for word in re.findall(r"[a-z']+", text.lower())}) > 1800
    assert len(PLOTS) >= 14


def test_articles(texts: list[str]) -> None:
    for text in texts:
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa] u(?!ni|se|k)|\b[Aa]n [^aeiouh]|\b[Aa]n (uni|use|uk)", text), text


def test_typography(texts: list[str]) -> None:
    for text in texts:
        assert text == text.strip()
        assert not re.search(r"  |[{}<>|()=_]| [,.!?]|[,.!?]{2}|\n\n\n|[^\n]\n[^\n]| \n|\n ", text), text
        assert re.search(r'[.!?]"?$', text), text
        for paragraph in text.split("\n\n"):
            assert paragraph.count('"') % 2 == 0, text
            assert paragraph[0].isupper() or paragraph[0] == '"', text
            assert not re.search(r"[.!?] [a-z]", re.sub(r'"[^"]*"', "", paragraph)), text


def test_no_word_twice_in_a_row(texts: list[str]) -> None:
    for text in texts:
        assert not re.search(r"\b(\w+) \1\b", text), text


def test_the_hero_stays(texts: list[str]) -> None:
    for text in texts:
        hero = _hero(text)
        assert text.count(hero) >= 4, text
        assert hero in text[-250:], text


def test_the_opening_speaks_of_one_hero(texts: list[str]) -> None:
    for text in texts:
        [kind] = re.findall(r" (girl|boy) named ", text) or [""]
        opening = " ".join(text.split(". ")[:2])
        if kind:
            other = {"girl": r"\b([Hh]e|[Hh]is|him)\b", "boy": r"\b([Ss]he|[Hh]er)\b"}[kind]
            assert not re.search(other, opening), text


def test_names_of_a_story_differ() -> None:
    lists = ["GIRLS", "BOYS", "FRIEND_GIRLS", "FRIEND_BOYS", "FAMILY", "SHE_ANIMALS", "HE_ANIMALS", "SURNAMES"]
    apart = [{entry[""] for entry in LEXICON[name].words} for name in lists]
    friends = apart[2] | apart[3]
    for heroes in (apart[0], apart[1], apart[4], apart[5], apart[6], apart[7]):
        assert not heroes & friends


def test_no_list_holds_a_word_twice() -> None:
    for name, entries in LEXICON.items():
        assert len({entry[""] for entry in entries.words}) == len(entries.words), name


def test_forms_of_words() -> None:
    assert [article(text) for text in ("apple", "unicorn", "umbrella", "hour", "house")] == ["an", "a", "an", "an", "a"]
    assert word("owl")["A "] == "An owl"
    assert table("sound", "cow | moo").words[0]["^sound"] == "Moo"


def _hero(text: str) -> str:
    match = re.search(r" named (\w+)", text)
    assert match, text
    return match[1]
