"""Asks about all stories, several at the same time."""

import asyncio
import sys

from tqdm import tqdm

from commands.judge.endpoint import Endpoint, RefusedError
from commands.judge.record import Answer, Record
from commands.judge.stories import Story
from lm.analysis.stories.grades import questions, read_grades


async def judge_all(endpoint: Endpoint, record: Record, at_once: int) -> None:
    """Ask about every story that has no answer yet, and save each answer as it comes.

    A story whose question is refused gets a line, and a place among the failures of the record.

    Raises:
        ValueError: when the endpoint answers nobody. All answers up to then are saved.
    """
    waiting = record.waiting()
    total = len(record.stories)
    with tqdm(desc="judge", unit=" stories", total=total, initial=total - len(waiting), disable=None) as bar:
        endpoint.waiting = lambda line: bar.set_postfix_str(line[:60])
        left = iter(waiting)

        async def work() -> None:
            for number in left:  # which all workers share
                try:
                    record.answers[number] = await _answer(endpoint, record.stories[number])
                except RefusedError as error:
                    record.failures[number] = str(error)
                    bar.write(f"story {number + 1}: {error}", file=sys.stderr)
                bar.set_postfix_str("")
                bar.update()
                record.save()

        workers = [asyncio.create_task(work()) for _ in range(min(at_once, len(waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await endpoint.close()
    record.save()


async def _answer(endpoint: Endpoint, story: Story) -> Answer:
    """What the judge says of a story: first in words, then in grades."""
    opinion_question, grades_question = questions(story.beginning, story.text)
    messages = [{"role": "user", "content": opinion_question}]
    opinion = await endpoint.ask(messages)
    messages += [{"role": "assistant", "content": opinion.text}, {"role": "user", "content": grades_question}]
    grades = await endpoint.ask(messages)
    return Answer(opinion.text, grades.text, read_grades(grades.text), grades.model)
