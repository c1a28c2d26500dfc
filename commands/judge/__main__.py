"""Let another language model grade stories: `python -m commands.judge --help` explains all options."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from commands.command_line import Parser, complain
from commands.judge.asking import judge_all
from commands.judge.endpoint import Endpoint
from commands.judge.record import Record
from commands.judge.stories import Story, read_stories, write_stories
from commands.judge.table import as_table

ABOUT = """\
Let another language model grade stories for grammar, creativity, consistency and plot, from 0 to 10, as the authors of
TinyStories did with GPT-4 (Eldan and Li 2023). Every story is sent to the address of --url, and to no other.

SOURCE is a samples/base.json, or a .jsonl of `commands.generate --json`; several are judged side by side. Or it is the
folder of a model, several too: then documents of a corpus are cut in two, each model goes on after the first parts,
and the true second parts are judged beside its own. Without that, a grade says little."""

EXAMPLES = """\
examples:
  the default model beside validation text, judged by a model on this machine:
    python -m commands.judge models/base --url http://127.0.0.1:8080/v1 --judge qwen3
  the same by OpenAI; the key is read from the environment variable that is named:
    python -m commands.judge models/base --url https://api.openai.com/v1 --judge gpt-4o --key OPENAI_API_KEY
  texts that lie there already:
    python -m commands.judge samples/base.json --url http://127.0.0.1:8080/v1 --judge qwen3
"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 after a mistake or where no grades came, 130 when stopped by Ctrl-C."""
    values = _parser().parse(sys.argv[1:] if words is None else words)
    record: Record | None = None
    try:
        _check(values)
        endpoint = Endpoint(
            values.url,
            values.judge,
            key=_key(values.key),
            temperature=values.temperature,
            retries=values.retries,
            timeout_s=values.timeout,
        )
        record = Record(values.out, values.judge, values.temperature, _stories(values))
        asyncio.run(judge_all(endpoint, record, values.at_once))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        _tell_what_is_kept(record)
        return 130
    except (ValueError, OSError) as error:
        complain(error)
        _tell_what_is_kept(record)
        return 1
    print(as_table(record.measures()))
    print(f"all answers: {record.path}")
    return 0 if any(answer and answer.grades for answer in record.answers) else 1


def _check(values: argparse.Namespace) -> None:
    """Raise ValueError unless the numbers make sense and the file can be written."""
    for name, least in (("n", 2), ("at_once", 1), ("retries", 0), ("timeout", 1)):
        if getattr(values, name) < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be {least} or above, got {getattr(values, name)}")
    if values.temperature is not None and not 0 <= values.temperature <= 2:
        raise ValueError(f"--temperature: must be from 0 to 2, got {values.temperature:g}")
    if values.out.is_dir() or not values.out.parent.is_dir():
        raise ValueError(f"--out: {values.out}: must be a file in a folder that exists")


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not (key := os.environ.get(variable, "").strip()):
        raise ValueError(f"--key: {variable}: must be an environment variable that holds the key, got none")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"--key: {variable}: must hold printable ASCII characters, got others")
    return key


def _stories(values: argparse.Namespace) -> list[Story]:
    """What is judged: the texts in the files, or what the models write.

    Raises:
        ValueError: when a source is missing, there twice, or of the other kind than the first.
    """
    sources: list[Path] = values.sources
    if len(set(sources)) < len(sources):
        raise ValueError("SOURCE: must be named once, got the same one twice")
    folders = [source for source in sources if source.is_dir()]
    if not folders:
        return [story for source in sources for story in read_stories(source)]
    if len(folders) < len(sources):
        raise ValueError("SOURCE: must be files or folders of models, got both")
    with tqdm(desc="write", unit=" tokens", disable=None, leave=False) as bar:
        return write_stories(folders, values.corpus, values.n, values.seed, bar.update)


def _tell_what_is_kept(record: Record | None) -> None:
    if record and (n_answers := len(record.answers) - len(record.waiting())):
        kept = f"{n_answers} of {len(record.answers)} answers are in {record.path}"
        print(f"{kept}; the same command goes on there", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m commands.judge",
        usage="%(prog)s SOURCE [SOURCE ...] --url URL --judge NAME [options]",
        description=ABOUT,
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="SOURCE", help=argparse.SUPPRESS)
    add("--url", required=True, help="where OpenAI's API is answered, up to and including /v1")
    add("--judge", required=True, metavar="NAME", help="the model that judges, by the name that the endpoint knows")
    add("--key", metavar="VARIABLE", help="the environment variable with the key; without it no key is sent")
    add("--temperature", type=float, metavar="T", help="of the judge; without it the endpoint decides")
    add(
        "--out", type=Path, default=Path("judged.json"), metavar="FILE", help="where answers and means go (judged.json)"
    )
    add("--at-once", type=int, default=4, metavar="N", help="stories that are asked about at the same time (4)")
    add("--retries", type=int, default=6, metavar="N", help="how often a question is repeated that fails (6)")
    add("--timeout", type=int, default=120, metavar="S", help="seconds to wait for an answer (120)")
    models = parser.add_argument_group("if the sources are models")
    models.add_argument(
        "--corpus", type=Path, default=Path("data/raw/valid.txt"), metavar="FILE", help="(data/raw/valid.txt)"
    )
    models.add_argument("--n", type=int, default=50, metavar="N", help="documents that are cut in two (50)")
    models.add_argument("--seed", type=int, default=1337, metavar="N", help="decides what is drawn (1337)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
