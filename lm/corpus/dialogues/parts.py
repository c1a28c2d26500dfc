"""Parts of a story: a few sentences in a row that say certain words."""

import re
from collections.abc import Sequence
from random import Random

# After a quotation "she said" is no new sentence, and neither is what comes after a title.
_BETWEEN_SENTENCES = re.compile(r'(?<=[.!?"])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)\s+(?=["A-Z])')
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_MOST_MORE = 3


def says(text: str, words: Sequence[str]) -> bool:
    """Whether a text has each of these words or phrases, and not only inside a longer word."""
    return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words)


def told_by_answer(story: str, asked: str, answer: str) -> list[str]:
    """The words of an answer that are in the story and not in the question: what somebody must find to answer."""
    known = set(_WORD.findall(asked))
    return [word for word in _WORD.findall(answer) if word not in known and says(story, [word])]


def part_that_says(story: str, words: Sequence[str], random: Random) -> str:
    """The shortest run of sentences with all these words, and the last of those, with up to three more on each side.

    Raises:
        AssertionError: when the story does not say them.
    """
    gaps = [match.span() for match in _BETWEEN_SENTENCES.finditer(story)]
    starts, stops = [0, *(stop for _, stop in gaps)], [*(start for start, _ in gaps), len(story)]
    last_place = len(starts) - 1
    for length in range(len(starts)):
        for first in range(last_place - length, -1, -1):
            if says(story[starts[first] : stops[first + length]], words):
                before, after = random.randint(0, _MOST_MORE), random.randint(0, _MOST_MORE)
                return story[starts[max(0, first - before)] : stops[min(last_place, first + length + after)]]
    raise AssertionError(f"{words} are not in {story!r}")
