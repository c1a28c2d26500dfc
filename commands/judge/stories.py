"""The stories that are judged: those in files, and those that a model writes for it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.corpus.text_file import read_documents
from lm.generation.events import counted
from lm.generation.generate import generate
from lm.generation.load import Trained, load_trained
from lm.generation.sampling import Sampling
from lm.generation.written import written_texts
from lm.system.files import read_json

_AT_ONCE = 32  # texts in a batch


@dataclass(frozen=True)
class Story:
    """A text that continues a beginning.

    Attributes:
        group: what it is judged together with: the name of its file, of its model or of the corpus.
        complete: whether it has its own end; None where nobody knows.
    """

    group: str
    beginning: str
    text: str
    complete: bool | None


def read_stories(path: Path) -> list[Story]:
    """The stories in a `samples/base.json`, or in a `.jsonl` of `commands.generate` or another program.

    Each line of a `.jsonl` is an object with a `prompt` and a `text`, and maybe with `complete`. The strategies of a
    `samples/base.json` are groups of their own.

    Raises:
        ValueError: naming file and place, when there is something else, or nothing.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        stories = [_story(value, str(path), place) for place, value in _lines(path)]
    else:
        content = read_json(path)
        if not isinstance(content, dict) or "samples" not in content:
            raise ValueError(f"{path}: must be a samples/base.json, or end with .jsonl")
        sets = {"": content} | content.get("strategies", {})
        stories = [
            _story(value, f"{path} {name}".rstrip(), f"{path}: {name or 'samples'}[{number}]")
            for name, one in sets.items()
            for number, value in enumerate(one["samples"])
        ]
    if not stories:
        raise ValueError(f"{path}: must hold a story, got none")
    return stories


def _lines(path: Path) -> list[tuple[str, Any]]:
    try:
        lines = path.read_bytes().decode().split("\n")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8: {error.reason} at byte {error.start}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found += [(f"{path}:{number}", json.loads(line))] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not valid JSON: {error}") from None
    return found


def _story(value: Any, group: str, place: str) -> Story:
    row = value if isinstance(value, dict) else {}
    beginning, text, complete = (row.get(name) for name in ("prompt", "text", "complete"))
    if not isinstance(beginning, str) or not isinstance(text, str) or not (complete is None or complete in (0, 1)):
        raise ValueError(f"{place}: must be an object with strings under 'prompt' and 'text'")
    try:
        (beginning + text).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place}: must be Unicode text, got half of a character") from None
    return Story(group, beginning, text, complete)


def write_stories(
    folders: Sequence[Path],
    corpus: Path,
    n_stories: int,
    seed: int,
    progress: Callable[[int], object],
) -> list[Story]:
    """Documents of a corpus file that are cut in two, and what each model writes after the first part.

    The first group is the corpus itself: its true second parts. Then each model has a group under the name of its
    folder. Texts are drawn from the model's own distribution, at temperature 1. A document counts if it fits into the
    context of all models; it is cut at the blank before its middle, so most often within a sentence.

    Raises:
        ValueError: when too few documents fit, or a model cannot be opened.
    """
    models = [(str(folder), load_trained(folder, device="cpu")) for folder in folders]
    halves = _halves(corpus, n_stories, [model for _, model in models])
    stories = [Story(str(corpus), beginning, rest, True) for beginning, rest in halves]
    beginnings = [beginning for beginning, _ in halves]
    for name, trained in models:
        stories += _continued(name, trained, beginnings, seed, progress)
    return stories


def _halves(corpus: Path, count: int, models: Sequence[Trained]) -> list[tuple[str, str]]:
    """The first documents that fit, each in two parts."""
    halves: list[tuple[str, str]] = []
    try:
        for document in read_documents(corpus):
            blank = document.rfind(" ", 0, len(document) // 2 + 1)
            # The end token before the document is in the context too.
            fits = all(len(one.tokenizer.encode(document)) < one.card.config.context_length for one in models)
            if blank > 0 and fits:
                halves.append((document[:blank], document[blank:]))
            if len(halves) == count:
                return halves
    except OSError as error:
        raise ValueError(f"--corpus: {corpus}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--corpus: {error}") from None
    raise ValueError(
        f"--corpus: {corpus}: must have {count} documents of two words or more that fit into the context, "
        f"got {len(halves)}"
    )


def _continued(
    name: str, trained: Trained, beginnings: Sequence[str], seed: int, progress: Callable[[int], object]
) -> list[Story]:
    model, tokenizer, card = trained
    stories: list[Story] = []
    for first in range(0, len(beginnings), _AT_ONCE):
        part = beginnings[first : first + _AT_ONCE]
        events = generate(
            model,
            [[card.end_id, *ids] for ids in tokenizer.encode_batch(part)],
            Sampling(temperature=1.0),
            max_new_tokens=card.config.context_length,
            end_id=card.end_id,
            seed=seed,
            first_prompt=first,
        )
        texts = written_texts(tokenizer, part, counted(events, progress), first_prompt=first)
        ordered = sorted(texts, key=lambda text: text.index)
        stories += [Story(name, text.prompt, text.text, text.complete) for text in ordered]
    return stories
