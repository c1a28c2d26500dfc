"""How texts are shown: a single one as it is drawn, several in order, or as lines of JSON."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from commands.generate.request import Request
from lm.generation.events import End, Event
from lm.generation.written import WrittenText, token_rows

STDOUT = Path("-")
_GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe has gone; the terminal is closed


class ReaderGoneError(Exception):
    """Nobody reads the standard output any more."""


def note(message: str) -> None:
    """Say something beside the texts."""
    print(message, file=sys.stderr)


def stream_text(request: Request) -> None:
    """Show the only text as it is drawn."""
    ends: list[End] = []

    def happened(event: Event) -> None:
        if isinstance(event, End):
            ends.append(event)

    _show(request.config.prompts[0])
    try:
        for piece in request.stream(happened):
            _show(piece)
    finally:
        _show("\n")
    if sys.stderr.isatty() and ends[0].reason == "length":
        note(f"(cut off after {request.config.max_new_tokens} tokens; --max-new-tokens allows more)")


def print_texts(request: Request) -> None:
    """Show several texts in the order of their prompts, each as soon as it and all before it are finished."""
    waiting: dict[tuple[int, int], WrittenText] = {}
    order = (
        (index, sample) for index in range(len(request.config.prompts)) for sample in range(request.config.samples)
    )
    following = next(order, None)
    with _counting(request) as texts:
        for text in texts:
            waiting[text.index, text.sample] = text
            while following in waiting:
                ready = waiting.pop(following)
                with tqdm.external_write_mode(file=sys.stdout):
                    _show("" if following == (0, 0) else "\n", ready.prompt, ready.text, "\n")
                following = next(order, None)


def write_json_lines(request: Request, path: Path, *, tokens: bool) -> None:
    """Write one JSON object a text as soon as the text ends, each line at once; say at the end what was written.

    With `tokens`, what is known of each token is written too.
    """
    n_texts = n_tokens = 0
    start_s = time.monotonic()
    with _lines(path) as write:
        try:
            with _counting(request) as texts:
                for text in texts:
                    values = text.as_json()
                    if tokens:
                        values["tokens"] = token_rows(request.trained.tokenizer, text.tokens)
                    write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
                    n_texts, n_tokens = n_texts + 1, n_tokens + len(text.tokens)
        finally:
            count = n_texts if n_texts == request.n_texts else f"{n_texts} of {request.n_texts}"
            where = "" if path == STDOUT else f": {path}"
            note(f"{count} texts, {n_tokens:,} tokens in {time.monotonic() - start_s:.1f} s{where}")


@contextmanager
def _counting(request: Request) -> Iterator[Iterator[WrittenText]]:
    """The texts as they end, with a bar on the terminal that counts tokens and texts."""
    with tqdm(desc=f"0 of {request.n_texts} texts", unit=" tokens", disable=None, leave=False) as bar:

        def texts() -> Iterator[WrittenText]:
            for n, text in enumerate(request.texts(bar.update), start=1):
                bar.set_description(f"{n} of {request.n_texts} texts", refresh=False)
                yield text

        yield texts()


@contextmanager
def _lines(path: Path) -> Iterator[Callable[[str], object]]:
    """A function that writes a whole line: to the file, in which nothing waits, or to the standard output."""
    if path == STDOUT:
        yield _show
        return
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    with file:
        yield lambda line: file.write(line.encode())


def _show(*pieces: str) -> None:
    """Write to the standard output at once.

    Raises:
        ReaderGoneError: when nobody reads it any more.
    """
    try:
        print(*pieces, sep="", end="", flush=True)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        # What waits in its buffer would be written once more at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderGoneError from None
