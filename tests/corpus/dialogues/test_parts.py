"""Tests of lm/corpus/dialogues/parts.py."""

from random import Random

import pytest

from lm.corpus.dialogues.parts import part_that_says, says, told_by_answer

STORY = (
    'Tom saw Mr. Fox. "Hello, Mr. Fox!" said Tom. "Do you like my red hat?"\n\n'
    "He did. They ate a pear! Tom lost the hat. Why? Nobody knew. Then Tom slept."
)
SENTENCES = [
    "Tom saw Mr. Fox.",
    '"Hello, Mr. Fox!" said Tom.',
    '"Do you like my red hat?"',
    "He did.",
    "They ate a pear!",
    "Tom lost the hat.",
    "Why?",
    "Nobody knew.",
    "Then Tom slept.",
]


class Fixed(Random):
    """Gives these whole numbers in turn."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(0)
        self._numbers = iter(numbers)

    def randint(self, a: int, b: int) -> int:
        number = next(self._numbers)
        assert a <= number <= b
        return number


@pytest.mark.parametrize(
    ("words", "before", "after", "first", "last"),
    [
        (["pear"], 0, 0, 4, 4),
        (["hat"], 0, 0, 5, 5),  # the last of two
        (["red", "hat"], 0, 0, 2, 2),
        (["pear", "hat"], 0, 0, 4, 5),
        (["pear"], 2, 1, 2, 5),
        (["Hello"], 3, 0, 0, 1),  # no more than there is
        (["slept"], 0, 3, 8, 8),
        (["Mr. Fox"], 0, 0, 1, 1),
    ],
)
def test_a_part_is_the_shortest_run_of_whole_sentences_and_some_more(
    words: list[str], before: int, after: int, first: int, last: int
) -> None:
    part = part_that_says(STORY, words, Fixed(before, after))
    assert part.replace("\n\n", " ") == " ".join(SENTENCES[first : last + 1])
    assert part in STORY


def test_up_to_three_sentences_more_stand_on_each_side() -> None:
    random = Random(0)
    lengths = {part_that_says(STORY, ["pear"], random).count(" ") for _ in range(200)}
    assert len({part_that_says(STORY, ["pear"], random) for _ in range(200)}) == 16
    assert max(lengths) < STORY.count(" ")


def test_words_that_the_story_does_not_say_have_no_part() -> None:
    with pytest.raises(AssertionError, match=r"\['cake'\] are not in"):
        part_that_says(STORY, ["cake"], Random(0))


def test_only_whole_words_are_said() -> None:
    assert says(STORY, ["red hat", "Mr. Fox", "pear"])
    assert not says(STORY, ["pea"])
    assert not says(STORY, ["pear", "cake"])
    assert not says("A red-hot soup.", ["ho"])


def test_what_is_to_be_found_is_in_the_story_and_not_in_the_question() -> None:
    assert told_by_answer(STORY, "What did Tom lose?", "Tom lost a red hat.") == ["lost", "a", "red", "hat"]
    assert told_by_answer(STORY, "Who lost the hat?", "It was Tom.") == ["Tom"]
    assert told_by_answer(STORY, "Where was it?", "It was upstairs.") == []
