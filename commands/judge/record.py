"""What the judge has said: kept as it comes, and in the end with means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.judge.stories import Story
from lm.analysis.stories.grades import Grades, grade_differences, mean_grades, questions
from lm.system.files import read_json, write_json


@dataclass(frozen=True)
class Answer:
    """What the judge has said of a story.

    Attributes:
        opinion: its first answer, in words.
        text: its second answer, which should be the grades.
        grades: those that were read in it; None if there are none.
        by: the model that says that it has answered.
    """

    opinion: str
    text: str
    grades: Grades | None
    by: str


class Record:
    """A file with the stories and the answers, which is whole at any time, so that a stopped run can go on.

    Attributes:
        answers: the answer to each story; None where there is none yet.
        failures: why there is none, by the number of the story.
    """

    def __init__(self, path: Path, judge: str, temperature: float | None, stories: Sequence[Story]) -> None:
        """Answers to the same questions that the file holds are taken from it.

        Raises:
            ValueError: when the file holds anything else.
        """
        self.path, self.stories = path, stories
        self._asked = {
            "judge": judge,
            "temperature": temperature,
            "questions": [*questions("BEGINNING", "TEXT"), *questions("", "TEXT")],
        }
        self.answers: list[Answer | None] = [None] * len(stories)
        self.failures: dict[int, str] = {}
        if path.exists():
            self._resume(read_json(path))

    def _resume(self, content: Any) -> None:
        try:
            asked = {name: content[name] for name in self._asked}
            rows = [(Story(**row["story"]), row["answer"]) for row in content["stories"]]
            answers = [None if answer is None else Answer(**answer) for _, answer in rows]
        except (KeyError, TypeError):
            raise ValueError(f"--out: {self.path}: must be a new file or one of this command") from None
        if asked != self._asked or [story for story, _ in rows] != list(self.stories):
            raise ValueError(
                f"--out: {self.path}: must be a new file, or hold the same stories and judge, got others there"
            )
        self.answers = answers

    def waiting(self) -> list[int]:
        """The numbers of the stories that have no answer yet."""
        return [number for number, answer in enumerate(self.answers) if answer is None]

    def save(self) -> None:
        """Write the file whole. It has means once all stories have been asked about."""
        asked = len(self.failures) == len(self.waiting())
        write_json(
            self.path,
            {
                **self._asked,
                **({"measures": self.measures()} if asked else {}),
                "stories": [
                    {
                        "story": vars(story),
                        "answer": None if answer is None else vars(answer),
                        "failure": self.failures.get(number),
                    }
                    for number, (story, answer) in enumerate(zip(self.stories, self.answers, strict=True))
                ],
            },
        )

    def measures(self) -> dict[str, dict[str, Any]]:
        """For each group how many stories it has and how many are graded, the mean grades, and their differences to
        the first group, each with its standard error."""
        graded = {story.group: self._graded(story.group) for story in self.stories}
        first, *others = graded
        result: dict[str, dict[str, Any]] = {}
        for group, (grades, beginnings) in graded.items():
            rows = [(s, a) for s, a in zip(self.stories, self.answers, strict=True) if s.group == group]
            result[group] = {
                "n_stories": len(rows),
                "n_cut_off": sum(story.complete is False for story, _ in rows),
                "n_graded": len(grades),
                "n_unreadable": sum(answer is not None and answer.grades is None for _, answer in rows),
                "n_failed": sum(answer is None for _, answer in rows),
                **mean_grades(grades, beginnings),
            }
        for group in others:
            if difference := grade_differences(*graded[group], *graded[first]):
                result[group]["difference"] = difference
        return result

    def _graded(self, group: str) -> tuple[list[Grades], list[str]]:
        found = [
            (answer.grades, story.beginning)
            for story, answer in zip(self.stories, self.answers, strict=True)
            if story.group == group and answer is not None and answer.grades is not None
        ]
        return [grades for grades, _ in found], [beginning for _, beginning in found]
