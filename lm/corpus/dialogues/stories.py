"""Dialogues from the grammar of the built-in stories: wishes for a story, questions about one, small talk.

The grammar knows what it has told, so the right answer to each question is known, and which words a story must use. A
dialogue depends on (seed, split, number) alone. Its story is told anew: no story of the corpus is used.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

from lm.config.dialogues import LEAST_CHARACTERS
from lm.corpus.dialogue import Check, Dialogue, Message, Role
from lm.corpus.dialogues import small_talk
from lm.corpus.dialogues.parts import part_that_says, says, told_by_answer
from lm.corpus.dialogues.questions import OF_ANIMALS, OF_CHILDREN, OF_PLOTS, SURE_WORDS, WISHES, Question
from lm.corpus.document import Split
from lm.corpus.stories.grammar import Grammar
from lm.corpus.stories.lexicon import LEXICON
from lm.corpus.stories.plots import GRAMMAR, compile_plots
from lm.corpus.stories.plots.among_animals import AMONG_ANIMALS
from lm.corpus.stories.telling import tell
from lm.corpus.stories.words import Word, WordList, word

PLOTS = compile_plots()

_STREAMS: tuple[Split, ...] = ("train", "valid")  # beside those of the corpus
_NAMES = WordList(LEXICON["GIRLS"].words + LEXICON["BOYS"].words)
_GRAMMAR = Grammar(LEXICON | {"NAMES": _NAMES}, {})
_ANY_STORY = (
    "Tell me a story.",
    "Please tell me a story.",
    "I would like to hear a story.",
    "I cannot sleep. Tell me a story.",
)
_MOST_QUESTIONS = 6
# What a dialogue is about, and how often. A small model learns to find answers where little stands around them. So it
# trains on parts of stories too, as exercises, which are not evaluated.
_KINDS = ("small talk", "opening", "part", "told story", "heard story")
_SHARES: dict[Split, tuple[float, ...]] = {
    "train": (0.06, 0.31, 0.31, 0.24, 0.08),
    "valid": (0.1, 0.4, 0.0, 0.3, 0.2),
}
_FREE = ("story", "part of a story")  # kinds of answers of which only some words are known
_TALK_CHARACTERS = 120  # that are left beside a story for what is said of it, at least
_WISH_CHARACTERS = 70  # that a wish has, at most
_OPENINGS = {kind: GRAMMAR.compile(f"<{kind}>") for kind in ("child", "animal")}
_CHILD = {"he": word("boy"), "she": word("girl")}
_compile = cache(_GRAMMAR.compile)


def story_dialogues(seed: int, split: Split, n_dialogues: int, max_characters: int) -> Iterator[Dialogue]:
    """The first dialogues of a split; the texts of each have at most `max_characters` characters together.

    Some of those to train on are exercises. They are about a part of a story: more to find in less text.

    Raises:
        ValueError: when stories of some plot are too long for that.
    """
    if max_characters < LEAST_CHARACTERS:
        raise ValueError(
            f"max_characters: must be {LEAST_CHARACTERS} or above, so that every plot can be told, got {max_characters}"
        )
    random = Random()
    for i in range(n_dialogues):
        random.seed((i << 40) | ((2 + _STREAMS.index(split)) << 32) | seed)
        yield _Talk(random, max_characters, split).dialogue()


def _about(plot: str) -> list[Question]:
    """What can be asked about a story. What only its plot knows is asked more often."""
    return [*(OF_ANIMALS if plot in AMONG_ANIMALS else OF_CHILDREN), *OF_PLOTS[plot], *OF_PLOTS[plot]]


def _with(words: Sequence[str]) -> str:
    return f"with the {'words' if len(words) > 1 else 'word'} {' and '.join(words)}"


class _Talk:
    """One dialogue while it is made up."""

    def __init__(self, random: Random, max_characters: int, split: Split) -> None:
        self._random, self._room, self._split = random, max_characters, split
        self._messages: list[Message] = []
        self._checks: list[Check] = []

    def dialogue(self) -> Dialogue:
        random = self._random
        if random.random() < 0.15:
            self._say("system", random.choice(small_talk.SYSTEM))
        match random.choices(_KINDS, _SHARES[self._split])[0]:
            case "small talk":
                self._chat()
            case "opening":
                self._about_an_opening()
            case "part":
                self._about_a_part()
            case "told story" if self._split == "train" and not self._messages and random.random() < 0.25:
                self._about_an_opening(n_questions=1)  # a wish may come after another story
                self._about_a_story(told_by_user=False, for_talk=_WISH_CHARACTERS)
            case "told story":
                self._about_a_story(told_by_user=False)
            case "heard story":
                self._about_a_story(told_by_user=True)
        return Dialogue(tuple(self._messages), tuple(self._checks))

    def _about_a_story(self, told_by_user: bool, for_talk: int = _TALK_CHARACTERS) -> None:
        if self._random.random() < 0.1:
            self._ask("small talk", *self._random.choice(small_talk.GREETINGS))
        plot, story, memory = self._tell(for_talk)
        if told_by_user:
            self._questions(_about(plot), memory, before=f"{story}\n\n")
        else:
            wish, words = self._wish(plot, memory)
            self._ask("story", wish, story, words)
            self._questions(_about(plot), memory)
        if self._random.random() < 0.2:
            self._ask_if_it_fits("small talk", *self._random.choice(small_talk.ENDINGS))

    def _about_an_opening(self, n_questions: int | None = None) -> None:
        """The user tells how a story begins, and asks about it."""
        kind, memory = self._random.choice(("child", "child", "animal")), dict[str, Word]()
        opening, _ = tell(_OPENINGS[kind], self._random.random, memory)
        questions = OF_ANIMALS if kind == "animal" else OF_CHILDREN
        about = [question for question in questions if question.kind != "friend"]
        self._questions(about, memory, f"{opening}\n\n", n_questions)

    def _about_a_part(self) -> None:
        """One of the two tells a part of a story, and the user asks what it says."""
        part, about, memory = self._part()
        if self._random.random() >= 0.5 or not self._wish_for_a_part(part, memory):
            self._questions(about, memory, f"{part}\n\n")
        elif self._random.random() < 0.5:
            self._questions(about, memory)

    def _part(self) -> tuple[str, list[Question], dict[str, Word]]:
        """A part of a story, what can be asked about it, and the words of the story."""
        plot, story, memory = self._tell()
        to_find = {question: self._to_find(question, memory, story) for question in OF_PLOTS[plot]}
        asked = [question for question, words in to_find.items() if words and question.after is None]
        part = part_that_says(story, to_find[self._random.choice(asked)], self._random)
        return part, [question for question, words in to_find.items() if words and says(part, words)], memory

    def _wish_for_a_part(self, part: str, memory: dict[str, Word]) -> bool:
        """Whether there is a word to wish for; then the part is told."""
        known = [name for name in WISHES if name in memory and says(part, [memory[name][""]])]
        n_words = min(len(known), self._random.choice((1, 1, 2)))
        words = tuple(memory[name][""] for name in self._random.sample(known, n_words))
        if words:
            self._ask("part of a story", f"Tell me a part of a story {_with(words)}.", part, words)
        return bool(words)

    def _to_find(self, question: Question, memory: dict[str, Word], story: str) -> list[str]:
        return told_by_answer(story, self._phrase(question.asks, memory), self._phrase(question.answer, memory))

    def _tell(self, for_talk: int = _TALK_CHARACTERS) -> tuple[str, str, dict[str, Word]]:
        """The plot, the text and the words of a story that fits, with some room for what is said of it."""
        while True:
            plot, memory = self._random.choice(list(PLOTS)), dict[str, Word]()
            story, _ = tell(PLOTS[plot], self._random.random, memory)
            if len(story) + for_talk <= self._room:
                return plot, story, memory

    def _wish(self, plot: str, memory: dict[str, Word]) -> tuple[str, tuple[str, ...]]:
        """A wish that the story fulfils, and the words that any story must use to fulfil it."""
        random, hero = self._random, memory["hero"][""]
        kind = random.random()
        if kind < 0.15:
            return random.choice(_ANY_STORY), ()
        whom = memory["animal"] if plot in AMONG_ANIMALS else _CHILD[memory["hero"]["he"]]
        if kind < 0.3:
            return f"Tell me a story about {whom['a ']} named {hero}.", (whom[""], hero)
        if kind < 0.4:
            trait = memory["trait"]
            return f"Tell me a story about {trait['a ']} {whom['']}.", (trait[""], whom[""])
        if kind < 0.5:
            name, verb = random.choice((("home", "lived"), ("hobby", "liked")))
            known_of = memory[name][""]
            return f"Tell me a story about {whom['a ']} who {verb} {known_of}.", (whom[""], known_of)
        known = [memory[name][""] for name in WISHES if name in memory] + list(SURE_WORDS.get(plot, ()))
        words = tuple(random.sample(known, min(len(known), random.choice((1, 1, 2)))))
        if not words:  # such a story has no word that one could wish for
            return random.choice(_ANY_STORY), ()
        opening = random.choice(("Tell me a story", "Please tell me a story", "I would like a story"))
        return f"{opening} {_with(words)}.", words

    def _questions(
        self, about: Sequence[Question], memory: dict[str, Word], before: str = "", n_questions: int | None = None
    ) -> None:
        """Some of these questions, in any order. What stands `before` the first one belongs to the same message."""
        left = [*about]
        last: str | None = None
        for _ in range(n_questions or self._random.randint(2, _MOST_QUESTIONS)):
            asking_on = [question for question in left if last and question.after == last]
            others = [question for question in left if question.after is None]
            if not others:
                return
            question = self._random.choice(asking_on if asking_on and self._random.random() < 0.5 else others)
            asked, answer = self._phrase(question.asks, memory), self._phrase(question.answer, memory)
            if not self._ask_if_it_fits(question.kind, before + asked, answer):
                assert not before
                return
            left = [other for other in left if other.kind != question.kind]
            before, last = "", question.kind

    def _chat(self) -> None:
        """Small talk without a story."""
        random, memory = self._random, dict[str, Word]()
        self._ask("small talk", *random.choice(small_talk.GREETINGS))
        named = random.random() < 0.5
        if named:
            self._ask("small talk", *(self._phrase(text, memory) for text in small_talk.INTRODUCTION))
        for asked, answer in random.sample(small_talk.CHATTER, random.randint(1, 3)):
            self._ask("small talk", asked, answer)
        if named:
            self._ask("name", *(self._phrase(text, memory) for text in small_talk.REMEMBERED))
        if random.random() < 0.5:
            self._ask("small talk", *random.choice(small_talk.ENDINGS))

    def _phrase(self, template: str, memory: dict[str, Word]) -> str:
        return tell(_compile(template), self._random.random, memory)[0]

    def _ask_if_it_fits(self, kind: str, asked: str, answer: str) -> bool:
        if fits := len(asked) + len(answer) <= self._room:
            self._ask(kind, asked, answer)
        return fits

    def _ask(self, kind: str, asked: str, answer: str, words: Sequence[str] = ()) -> None:
        self._say("user", asked)
        self._say("assistant", answer)
        answers = () if kind in _FREE else (answer,)
        self._checks.append(Check(len(self._messages) - 1, kind, answers, tuple(words)))

    def _say(self, role: Role, content: str) -> None:
        self._messages.append(Message(role, content))
        self._room -= len(content)
