"""Where the prompts come from: the command line, the standard input, a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

STDIN = "-"


def gather_prompts(
    words: Sequence[str], literal: Sequence[str], file: Path | None, stdin: BinaryIO, *, is_terminal: bool
) -> list[str]:
    """The texts to continue, in the order given.

    A word `-` stands for the standard input, and so do no words at all if that is no terminal. Words in `literal` stand
    for themselves. Without any prompt there is one, an empty one: the model starts a text.

    Raises:
        ValueError: when a text is not UTF-8, or a file cannot be read.
    """
    prompts = [_read_input(stdin) if word == STDIN else word for word in words] + list(literal)
    if file is not None:
        prompts += read_prompts(file)
    elif not prompts:
        prompts.append("" if is_terminal else _read_input(stdin))
    for prompt in prompts:
        try:
            prompt.encode()
        except UnicodeEncodeError:  # so Python marks bytes of the command line that are no characters
            raise ValueError(f"prompt: must be UTF-8, got {prompt!r}") from None
    return prompts


def read_prompts(path: Path) -> list[str]:
    """The prompts in a file.

    Each line of a text file is a prompt, an empty line an empty one. In a `.jsonl`, each line is a JSON string, or an
    object that has a string under `prompt`: so a prompt can hold line breaks.

    Raises:
        ValueError: naming file and line.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8: {error.reason} at byte {error.start}") from None
    lines = text.removesuffix("\n").split("\n") if text else []
    if not lines:
        raise ValueError(f"{path}: must hold a prompt, got an empty file")
    if path.suffix not in (".jsonl", ".ndjson"):
        return [line.removesuffix("\r") for line in lines]
    return [_prompt_in(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _prompt_in(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: not valid JSON: {error}") from None
    prompt = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(prompt, str):
        raise ValueError(f"{place}: must be a string, or an object with a string under 'prompt', got {line.strip()}")
    return prompt


def _read_input(stdin: BinaryIO) -> str:
    """The standard input as one prompt, without the line break at its end, which `echo` adds."""
    try:
        return stdin.read().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input: must be UTF-8: {error.reason} at byte {error.start}") from None
