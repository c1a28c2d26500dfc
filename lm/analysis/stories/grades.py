"""The grades that another language model gives to stories: what it is asked, how its answers are read, their means.

This is the evaluation of Eldan and Li 2023 (TinyStories, https://arxiv.org/abs/2305.07759, section 3) in our own words.
A student has completed the beginning of a story. The judge first says in words what it thinks of the completion, and
then grades it. A grade says nothing alone: compare grades of one judge with each other.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

QUALITIES = ("grammar", "creativity", "consistency", "plot")
BEST = 10.0

Grades = Mapping[str, float]

_SEPARATOR = "***"

_CONTINUED = f"""\
A student was given the beginning of a story and had to continue it. This shows what the student can do with language, \
and how inventive the student is. Below stands the whole story. The sign {_SEPARATOR} separates the given beginning \
from what the student wrote; it may stand in the middle of a sentence.

{{beginning}}{_SEPARATOR}{{text}}

Say in a few sentences what you think of the student's part, which is what follows {_SEPARATOR}. Is its grammar right? \
Does it agree with the beginning? If {_SEPARATOR} splits a sentence, is that sentence completed well?"""

_FROM_NOTHING = """\
A student had to write a story. This shows what the student can do with language, and how inventive the student is. \
Below stands the story.

{text}

Say in a few sentences what you think of it. Is its grammar right? Do its parts agree with each other?"""

_GRADES = """\
Now grade what the student wrote, from 0 (very bad) to 10 (perfect): its grammar, its creativity, its consistency with \
{consistent}, and its plot, which should make sense. Answer with these four lines and nothing else, a number in the \
place of each N:

Grammar: N/10
Creativity: N/10
Consistency: N/10
Plot: N/10"""

# A number alone or out of ten, which nothing goes on after: no range, no other fraction, no letters.
_END = r"(?=[\s,;.)\]}*_`\"'|]|$)(?![.,]\d)(?!\s*(?:[-–—/]|to\b|or\b|out\b)\s*\d)"
_GRADE = rf"(\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*10)?{_END}"
_MARKS = r"[\s*_`\"']*"
_READ = {  # the name with a colon or the like after it, and then a grade or none
    name: re.compile(rf"\b{name}\b{_MARKS}(?:with[\w ']*)?{_MARKS}[:=|]{_MARKS}(?:{_GRADE})?", re.IGNORECASE)
    for name in QUALITIES
}


def questions(beginning: str, text: str) -> tuple[str, str]:
    """What the judge is asked about a text that continues a beginning: first its opinion, then the grades.

    With an empty beginning, the text is a story from nothing.
    """
    if not beginning.strip():
        return _FROM_NOTHING.format(text=text), _GRADES.format(consistent="itself")
    return _CONTINUED.format(beginning=beginning, text=text), _GRADES.format(consistent="the beginning")


def read_grades(answer: str) -> Grades | None:
    """The grade for each of `QUALITIES` in an answer; None unless it says one for each, from 0 to 10, and no other.

    What a reasoning model thinks before its answer, up to `</think>`, is not read.

    >>> read_grades("**Grammar:** 8/10, creativity: 6.5, Consistency: 7 out of 10. Plot: 5/10")
    {'grammar': 8.0, 'creativity': 6.5, 'consistency': 7.0, 'plot': 5.0}
    >>> read_grades("Grammar: 8/10, Creativity: 7-8/10, Consistency: 7/10, Plot: 5/10") is None
    True
    """
    answer = answer.rpartition("</think>")[2]
    grades = {}
    for name, read in _READ.items():
        found = set(read.findall(answer))
        if len(found) != 1 or "" in found or (grade := float(found.pop())) > BEST:
            return None
        grades[name] = grade
    return grades


def mean_grades(grades: Sequence[Grades], beginnings: Sequence[str]) -> dict[str, float | None]:
    """The mean of each grade over the texts, and its standard error under `..._standard_error`.

    Texts with the same beginning depend on each other, so beginnings are the independent draws: the error is that of a
    mean of clusters (Cochran 1977, equation 9A.12; Miller 2024, https://arxiv.org/abs/2411.00640, section 2.2). If all
    texts have the same beginning, each is a draw, and the mean is one for this beginning. None where there are too few.
    """
    rows = np.array([[one[name] for name in QUALITIES] for one in grades], np.float64).reshape(-1, len(QUALITIES))
    _, cluster = np.unique(np.array(beginnings, object), return_inverse=True)
    if len(set(beginnings)) < 2:
        cluster = np.arange(len(rows))
    result: dict[str, float | None] = {}
    for name, values in zip(QUALITIES, rows.T, strict=True):
        result[name] = float(values.mean()) if len(values) else None
        result[f"{name}_standard_error"] = _error_of_mean(values, cluster)
    return result


def _error_of_mean(values: Float64[np.ndarray, " n"], cluster: np.ndarray) -> float | None:
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2:
        return None
    sums = np.bincount(cluster, values - values.mean())
    return math.sqrt(n_clusters / (n_clusters - 1) * float((sums**2).sum())) / len(values)


def grade_differences(
    grades: Sequence[Grades], beginnings: Sequence[str], others: Sequence[Grades], other_beginnings: Sequence[str]
) -> dict[str, float | None] | None:
    """The mean grades minus those of other texts, over the beginnings that both have, each with its standard error.

    Whatever makes a beginning hard or easy for both is not in this error. None for fewer than two such beginnings.
    """
    own, other = _by_beginning(grades, beginnings), _by_beginning(others, other_beginnings)
    both = [beginning for beginning in own if beginning in other]
    if len(both) < 2:
        return None
    return mean_grades([{name: own[one][name] - other[one][name] for name in QUALITIES} for one in both], both)


def _by_beginning(grades: Sequence[Grades], beginnings: Sequence[str]) -> dict[str, Grades]:
    found: dict[str, list[Grades]] = {}
    for one, beginning in zip(grades, beginnings, strict=True):
        found.setdefault(beginning, []).append(one)
    return {
        beginning: {name: float(np.mean([one[name] for one in several])) for name in QUALITIES}
        for beginning, several in found.items()
    }
