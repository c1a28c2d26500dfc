"""Tests of lm/analysis/stories/: known values of each measure, planted faults, and all measures of told stories."""

import math

import numpy as np
import pytest

from experiments.define.metrics import METRICS
from lm.analysis.corpus.sample import CorpusSample
from lm.analysis.stories.divergence import closeness, histogram
from lm.analysis.stories.measures import Measures, grammar_measures, story_measures
from lm.analysis.stories.style import ends_in_a_loop, names, names_used_again, reading_ease
from lm.analysis.stories.views import story_views
from lm.analysis.stories.write import Beside, Stories, first_part, write_stories
from lm.analysis.views import Table, as_json, topic_from_json
from lm.corpus.stories import story_breach, tell_stories
from lm.corpus.stories.grammar import Copy
from lm.tokenizer.learning import bytes_alone
from tests.small import numpy_twin, random_model, tokenizer_config

STORIES = [story.text for story in tell_stories(3, "train", 100)]
OTHERS = [story.text for story in tell_stories(3, "valid", 100)]


def test_a_loop_is_a_part_three_times_at_the_end() -> None:
    part = ["and", "then", "he", "said"]
    assert ends_in_a_loop(["Once", *part * 3])
    assert ends_in_a_loop(["no"] * 12)
    assert not ends_in_a_loop(["no"] * 11)
    assert not ends_in_a_loop([*part * 5, "end"])
    assert not ends_in_a_loop(part * 2 + ["so", "it", "went", "on"])
    assert not ends_in_a_loop([*"abcdefgh", *[*"klmnopq"] * 2])  # twice only
    assert not ends_in_a_loop([])


def test_names_stand_within_sentences() -> None:
    text = 'One day, Lily met Tom. "Tom," said Lily, "I saw Tom\'s cat." Suddenly Ben came. He saw ABC.'
    assert names(text) == {"Lily": 2, "Tom": 3, "Ben": 1}
    assert names_used_again("Then Lily met Tom, and Lily went home.") == 0.5
    assert names_used_again("nobody came") is None


def test_reading_ease_of_a_known_sentence() -> None:
    # Flesch's formula by hand: 6 words, 6 syllables, 1 sentence
    assert reading_ease("The cat sat on the mat.") == pytest.approx(206.835 - 1.015 * 6 - 84.6)
    # 6 words of 1 + 3 + 2 + 1 + 1 + 2 syllables, 2 sentences
    assert reading_ease("A banana yellow! See the water") == pytest.approx(206.835 - 1.015 * 3 - 84.6 * 10 / 6)
    assert reading_ease("1 2 3.") is None


def test_closeness_is_one_for_the_same_and_falls_with_what_differs() -> None:
    p = np.array([500, 300, 200, 0])
    assert closeness(p, p) == pytest.approx(1, abs=1e-3)
    near, far = closeness(p, np.array([450, 330, 220, 0])), closeness(p, np.array([100, 100, 100, 700]))
    assert 1 > near > far > closeness(p, np.array([0, 0, 0, 1000])) > 0
    assert closeness(p, np.array([0, 0, 0, 1000])) < 0.05
    assert closeness(p, np.array([1, 2, 3, 4])) == pytest.approx(closeness(np.array([1, 2, 3, 4]), p))
    assert histogram(np.array([5, 9, 7, 5]), np.array([5, 7])).tolist() == [2, 1, 1]


def test_closeness_is_maves_area() -> None:
    """The area of the formula's curve, by a sum over many thin strips."""
    p, q = np.array([5, 3, 2, 0]), np.array([1, 4, 3, 2])
    one, other = p / p.sum(), q / q.sum()
    weights = np.linspace(1e-9, 1 - 1e-9, 4001)[:, None]
    mixture = weights * one + (1 - weights) * other

    def kl(a: np.ndarray) -> np.ndarray:
        ratios = np.where(a > 0, a, 1) / np.where(a > 0, mixture, 1)
        total: np.ndarray = (a * np.log(ratios)).sum(1)
        return total

    x, y = np.exp(-5 * kl(other)), np.exp(-5 * kl(one))
    order = np.argsort(x)
    assert closeness(p, q) == pytest.approx(np.trapezoid(y[order], x[order]), abs=2e-3)  # 25 points for 4,001
    assert closeness(p, p) == pytest.approx(1, abs=1e-12)


def test_a_share_of_none_or_all_is_not_certain() -> None:
    sample = CorpusSample(STORIES[:3], OTHERS[:40], whole=True, n_compared=40)
    measures = story_measures(Beside(Stories(tuple(OTHERS[40:50]), (True,) * 10), sample), built_in=False)
    assert measures["ends_itself"] == 1
    # Agresti and Caffo: 11 of 12
    assert measures["ends_itself_standard_error"] == pytest.approx(math.sqrt(11 / 12 * 1 / 12 / 12))
    nothing = grammar_measures(Stories((), ()))
    assert nothing["in_grammar"].dtype == nothing["keeps_names_and_things"].dtype == bool
    assert measures["ends_in_a_loop_standard_error"] == pytest.approx(measures["ends_itself_standard_error"])


def clear(**values: float | int | None) -> dict[str, str]:
    """Of the measures with these values, what the column `clearly different` of the table says."""
    few = Beside(Stories(("",), (True,)), CorpusSample([], [], whole=True))
    table = story_views(few, {"n_stories": 60, "validation_n_documents": 200, **values}).views[0]
    assert isinstance(table, Table)
    return {str(row[0]): str(row[3]) for row in table.rows}


def test_a_difference_is_clear_only_where_chance_would_hardly_make_it() -> None:
    both = {"validation_words": 200.0, "validation_words_standard_error": 3.0, "words_standard_error": 4.0}
    assert clear(words=221.0, **both) == {"words of a text": "yes"}
    assert clear(words=209.0, **both) == {"words of a text": "no"}
    assert clear(words=300.0, **both | {"words_standard_error": None}) == {"words of a text": "None"}
    # Three groups say little of their own spread: Student's t with two degrees of freedom.
    groups = {"validation_self_bleu": 0.4, "validation_self_bleu_standard_error": 0.0, "self_bleu_standard_error": 0.01}
    assert clear(self_bleu=0.45, **groups) == {"Self-BLEU of 20 texts": "no"}
    assert clear(self_bleu=0.7, **groups) == {"Self-BLEU of 20 texts": "yes"}
    assert clear(n_stories=2000, self_bleu=0.45, **groups) == {"Self-BLEU of 20 texts": "yes"}


def test_large_means_are_written_out() -> None:
    few = Beside(Stories(("",), (True,)), CorpusSample([], [], whole=True))
    measures: Measures = {"n_stories": 9, "validation_n_documents": 9, "words": 12345.6, "words_standard_error": 234.5}
    table = story_views(few, measures).views[0]
    assert isinstance(table, Table)
    assert table.rows[0][1] == "12,346 ± 234"


def test_validation_text_is_cut_where_the_model_has_to_stop() -> None:
    sample = CorpusSample(STORIES[:3], ["a b c", "a b", "a b c d e"], whole=True, n_compared=2)
    beside = Beside(Stories(("a b",), (True,)), sample, first_part=lambda text: (text[:3], len(text) <= 3))
    assert beside.others == Stories(("a b", "a b"), (False, True))
    measures = story_measures(beside, built_in=False)
    assert measures["validation_words"] == 2
    assert measures["validation_ends_itself"] == 0.5
    assert Beside(beside.stories, sample).others == Stories(("a b c", "a b"), (True, True))
    long = CorpusSample([], ["a " * 5000], whole=True)
    assert Beside(beside.stories, long).others.ended == (False,)  # of a long document the first part stands there


def test_the_first_part_of_a_text_is_what_fits_with_its_end() -> None:
    tokenizer = bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
    parts = [first_part(tokenizer, "abcd", n) for n in (3, 4, 5)]
    assert parts == [("abc", False), ("abcd", False), ("abcd", True)]
    assert first_part(tokenizer, "", 1) == ("", True)


def test_a_story_leaves_the_grammar_where_something_is_changed() -> None:
    text = STORIES[0]
    assert story_breach(text, ended=True) is None
    beginning = text[: len(text) // 2]
    assert story_breach(beginning, ended=False) is None
    left_early = story_breach(beginning, ended=True)
    assert left_early is not None
    assert left_early.at == len(beginning)
    assert left_early.expected
    for place in (40, len(text) // 2, len(text) - 1):
        breach = story_breach(text[:place] + "#" + text[place + 1 :], ended=True)
        assert breach is not None
        assert breach.at == place
    too_long = story_breach(text + " And", ended=False)
    assert too_long is not None
    assert too_long.at == len(text)


def test_a_wrong_name_is_told_from_a_wrong_word() -> None:
    for text in STORIES[:20]:
        name = max(names(text), key=lambda name: (names(text)[name], name))
        place = text.rindex(name)
        wrong = text[:place] + "Zzz" + text[place + len(name) :]
        if (breach := story_breach(wrong, ended=True)) is not None:
            found = grammar_measures(Stories((text, wrong), (True, True)))
            assert found["in_grammar"].tolist() == [1, 0]
            assert found["grammar_follows"].tolist() == [1, breach.at / len(wrong)]
            is_copy = any(isinstance(node, Copy) for node in breach.expected)
            assert found["keeps_names_and_things"].tolist() == [1, float(not is_copy)]
    onze = tuple(text.replace("Once", "Onze") for text in STORIES if text.startswith("Once upon"))
    told_wrong = grammar_measures(Stories(onze, (True,) * len(onze)))
    assert not told_wrong["in_grammar"].any()
    assert told_wrong["keeps_names_and_things"].all()  # no name has been told yet
    assert told_wrong["grammar_follows"].max() < 0.05


def test_a_model_that_ends_at_once_or_too_soon_has_told_no_story() -> None:
    beginning = STORIES[0][:100]
    found = grammar_measures(Stories(("", beginning, beginning), (True, True, False)))
    assert found["in_grammar"].tolist() == [0, 0, 1]
    assert found["grammar_follows"].tolist() == [0, 1, 1]


def test_told_stories_are_like_validation_and_learned_ones_are_not() -> None:
    sample = CorpusSample(STORIES, OTHERS[:80], whole=True, n_compared=40)
    fresh = Stories(tuple(OTHERS[80:100]), (True,) * 20)
    measures = story_measures(Beside(fresh, sample), built_in=False)
    for name in ("longest_copy", "novel_8", "distinct_2", "self_bleu", "closeness_1", "reading_ease"):
        value, other = measures[name], measures[f"validation_{name}"]
        errors = measures[f"{name}_standard_error"], measures[f"validation_{name}_standard_error"]
        assert value is not None
        assert other is not None
        assert abs(value - other) <= 6 * math.hypot(*(error or 0 for error in errors)), name
    assert measures["ends_itself"] == 1
    told = Beside(Stories(tuple(OTHERS[80:82]), (True,) * 2), CorpusSample(STORIES[:3], OTHERS[:4], whole=True))
    of_grammar = story_measures(told, built_in=True)
    assert of_grammar["in_grammar"] == of_grammar["validation_in_grammar"] == 1
    compared = {metric.removeprefix("stories.") for metric in METRICS if metric.startswith("stories.")}
    assert compared < measures.keys() | of_grammar.keys()  # experiments are compared by them
    by_heart = Stories(tuple(STORIES[:20]), (False,) * 20)
    learned = story_measures(Beside(by_heart, sample), built_in=False)
    assert "in_grammar" not in learned
    assert learned["novel_4"] == learned["ends_itself"] == 0
    assert learned["longest_copy"] == learned["words"]
    topic = story_views(Beside(by_heart, sample), learned)
    assert topic_from_json(as_json(topic)) == topic
    table = topic.views[0]
    assert isinstance(table, Table)
    assert {row[0]: row[3] for row in table.rows}["longest copy, in words"] == "yes"


@pytest.mark.parametrize("texts", [(), ("",), ("one", "")])
def test_few_or_empty_texts_have_fewer_measures(texts: tuple[str, ...]) -> None:
    sample = CorpusSample(STORIES[:3], [], whole=True)
    stories = Stories(texts, (True,) * len(texts))
    measures = story_measures(Beside(stories, sample), built_in=True)
    assert measures["distinct_1"] is measures["validation_longest_copy"] is None
    topic = story_views(Beside(stories, sample), measures)
    assert topic_from_json(as_json(topic)) == topic


def test_a_story_depends_on_its_seed_and_number_alone() -> None:
    tokenizer = bytes_alone(tokenizer_config(kind="byte", special_tokens=[]))
    model = numpy_twin(random_model(tokenizer.vocab_size, context_length=8))
    seen: list[int] = []
    both = [
        write_stories(
            model,
            tokenizer,
            n_stories=n,
            max_new_tokens=5,
            temperature=1.0,
            end_id=tokenizer.end_id,
            seed=4,
            progress=seen.append,
        )
        for n in (2, 3)
    ]
    assert both[1].texts[:2] == both[0].texts
    assert len(both[1].texts) == len(both[1].ended) == 3
    assert sum(seen) > 0
