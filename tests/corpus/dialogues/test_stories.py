"""Tests of lm/corpus/dialogues/stories.py."""

import re
from functools import cache
from itertools import islice, pairwise
from random import Random

import pytest

from lm.config.dialogues import LEAST_CHARACTERS
from lm.corpus.dialogue import Check, Dialogue
from lm.corpus.dialogues.parts import told_by_answer
from lm.corpus.dialogues.questions import OF_ANIMALS, OF_CHILDREN, OF_PLOTS, SURE_WORDS
from lm.corpus.dialogues.stories import PLOTS, story_dialogues
from lm.corpus.document import Split
from lm.corpus.stories import derivations, tell_stories
from lm.corpus.stories.telling import tell

LIMIT = 1150


@cache
def dialogues(seed: int = 1, split: Split = "train", limit: int = LIMIT) -> list[Dialogue]:
    return list(story_dialogues(seed, split, 800, limit))


def test_a_dialogue_depends_on_seed_split_and_number_alone() -> None:
    assert list(story_dialogues(1, "train", 5, LIMIT)) == dialogues()[:5]
    with_story = {dialogue for dialogue in dialogues() if "." in str(dialogue) and len(str(dialogue)) > 1300}
    assert len(with_story) > 200
    assert not with_story & {*dialogues(2), *dialogues(split="valid")}


def test_user_and_assistant_speak_in_turn_and_the_assistant_last() -> None:
    for dialogue in dialogues():
        roles = [message.role for message in dialogue.messages]
        if roles[0] == "system":
            del roles[0]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
        assert all(message.content.strip() == message.content != "" for message in dialogue.messages)


@pytest.mark.parametrize("limit", [LEAST_CHARACTERS, 3000])
def test_dialogues_are_as_long_as_they_may_be_and_no_longer(limit: int) -> None:
    longest = max(
        sum(len(message.content) for message in dialogue.messages) for dialogue in dialogues(1, "train", limit)
    )
    assert min(limit, 1400) - 50 < longest <= limit


def test_every_answer_is_checked_and_right() -> None:
    kinds = set()
    for dialogue in dialogues():
        answers = [place for place, message in enumerate(dialogue.messages) if message.role == "assistant"]
        assert [check.message for check in dialogue.checks] == answers
        for check in dialogue.checks:
            said = dialogue.messages[check.message].content
            kinds.add(check.kind)
            if check.kind in ("story", "part of a story"):
                assert check.kind == "part of a story" or len(list(islice(derivations(said), 2))) == 1
                assert all(re.search(rf"\b{re.escape(word)}\b", said, re.IGNORECASE) for word in check.words)
            else:
                assert check.answers == (said,)
    assert kinds > {"story", "part of a story", "small talk", "name", "home", "thing", "color", "who", "next"}


def test_what_somebody_wishes_for_stands_in_the_wish() -> None:
    wishes = [
        (dialogue.messages[check.message - 1].content, check.words)
        for dialogue in dialogues()
        for check in dialogue.checks
        if check.kind == "story"
    ]
    assert all(word in wish for wish, words in wishes for word in words)
    assert {len(words) for _, words in wishes} == {0, 1, 2}
    assert not any(re.search(r"the words?( and)? *\.", wish) for wish, _ in wishes)  # some stories have no such word
    for asked in (r" named \w+\.$", " who lived ", " who liked ", r"about an? \w+ \w+\.$", " with the word "):
        assert any(re.search(asked, wish) for wish, _ in wishes), asked


def test_exercises_are_about_parts_of_stories_and_not_in_what_is_evaluated() -> None:
    def parts(split: Split) -> list[Check]:
        return [check for each in dialogues(split=split) for check in each.checks if check.kind == "part of a story"]

    assert not parts("valid")
    told = parts("train")
    assert 80 < len(told) < 180  # half of 31 %
    assert {len(check.words) for check in told} == {1, 2}
    asked = [dialogue for dialogue in dialogues() if _begins_with_a_part(dialogue)]
    assert len(asked) > 60
    for dialogue in asked:
        part, question = next(m.content for m in dialogue.messages if m.role == "user").rsplit("\n\n", 1)
        to_find = told_by_answer(part, question, dialogue.checks[0].answers[0])
        assert to_find, (part, question, dialogue.checks[0].answers)
        assert len(part) < 800


def test_a_story_may_be_told_after_another_one_has_begun() -> None:
    def told_later(split: Split) -> int:
        return sum(
            check.kind == "story"
            and any(before.kind in ("hero", "home", "hobby") for before in dialogue.checks[:place])
            for dialogue in dialogues(split=split)
            for place, check in enumerate(dialogue.checks)
        )

    assert told_later("train") > 20
    assert told_later("valid") == 0


def _begins_with_a_part(dialogue: Dialogue) -> bool:
    """Whether the user tells what has no beginning."""
    first = next(message.content for message in dialogue.messages if message.role == "user")
    return "\n\n" in first and not re.match("Once|There once|Long ago|In a land|Deep in", first)


def test_a_question_that_asks_on_comes_after_the_one_it_means() -> None:
    followed = {(question.after, question.kind) for question in (*OF_ANIMALS, *OF_CHILDREN) if question.after}
    seen = set()
    for dialogue in dialogues():
        for before, check in pairwise(dialogue.checks):
            if dialogue.messages[check.message - 1].content.startswith("And "):
                assert (before.kind, check.kind) in followed
                seen.add((before.kind, check.kind))
    assert seen == followed


def test_the_plots_are_those_of_the_stories() -> None:
    assert PLOTS.keys() == OF_PLOTS.keys() > SURE_WORDS.keys()
    told = "\n".join(document.text for document in tell_stories(1, "train", 200))
    for plot, words in SURE_WORDS.items():
        assert all(word in told for word in words), plot


def test_every_plot_is_talked_about_within_the_least_length() -> None:
    random = Random(0)
    for plot, nodes in PLOTS.items():
        lengths = [len(tell(nodes, random.random)[0]) for _ in range(40)]
        assert min(lengths) + 120 <= LEAST_CHARACTERS, plot


def test_a_limit_that_no_story_keeps_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^max_characters: must be 1150 or above, .* got 1149$"):
        list(story_dialogues(1, "train", 1, LIMIT - 1))
