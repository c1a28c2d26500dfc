"""Talk to a chat model: `python -m commands.chat --help` explains all options."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.chat.talk import HELP, Settings, Talk, shown
from commands.command_line import Parser, add_model_options, complain
from lm.generation.load import load_trained
from lm.system.memory import keep_freed_memory

ABOUT = """\
Talk to a chat model. Answers are shown token by token, as they are drawn.

MODEL is a folder with model.safetensors and tokenizer.json (models/chat, which `dvc repro` makes, if none is named).
Where the input is no terminal, all of it is one message, and the answer alone is printed."""

EXAMPLES = f"""\
in the conversation:
{HELP}

examples:
    python -m commands.chat
    python -m commands.chat models/chat --system "You are a kind storyteller." --temperature 0.5
    echo "Tell me a story with the word dragon." | python -m commands.chat
"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 after a mistake, 130 when stopped by Ctrl-C."""
    values = _parser().parse(words)
    try:
        settings = Settings()
        for name in vars(settings):
            if (value := getattr(values, name)) is not None:
                settings = settings.changed(name, value)
        if not values.model.exists():
            raise ValueError(f"{values.model}: no such folder; `dvc repro finetune` makes models/chat")
        keep_freed_memory()
        trained = load_trained(
            values.model, values.tokenizer, backend=values.backend, device=values.device, weights=values.weights
        )
        if not trained.card.chat:
            raise ValueError(
                f"{values.model}: must be a chat model; `dvc repro finetune` makes models/chat of models/base"
            )
        if sys.stdin.isatty():
            from commands.chat.screen import Screen

            screen = Screen()
            screen.note(f"{values.model}; /help shows the commands, Ctrl-D leaves")
            screen.talk(Talk(trained, settings, values.system, screen.note))
            return 0
        talk = Talk(trained, settings, values.system, lambda line: print(line, file=sys.stderr))
        return _answer_once(talk)
    except ValueError as error:
        complain(error)
        return 1
    except OSError as error:  # the disk is full, for example
        complain(OSError(error.strerror or error))
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _answer_once(talk: Talk) -> int:
    """Answer what comes from another program."""
    try:
        text = sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"input: must be UTF-8, got {error.object[error.start]:#04x} at byte {error.start}") from None
    if not text:
        raise ValueError("input: must hold a message, got none")
    try:
        finished = shown(talk.say(text), lambda piece: print(piece, end="", flush=True))
        print(flush=True)
    except BrokenPipeError:  # the reader has read enough
        sys.stdout = None  # or Python would complain when it closes it
        return 0
    return 0 if finished else 130


def _parser() -> Parser:
    parser = Parser(
        prog="python -m commands.chat",
        usage="%(prog)s [MODEL] [options]",
        description=ABOUT,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "model", nargs="?", type=Path, default=Path("models/chat"), metavar="MODEL", help=argparse.SUPPRESS
    )
    parser.add_argument("--system", metavar="TEXT", help="tell the model who it is, before you begin")
    # Checked as `/set` does it, so that both say the same of a wrong value.
    parser.add_argument("--temperature", metavar="T", help="0 always takes the likeliest token (0.7)")
    parser.add_argument(
        "--top-p", metavar="P", help="of the likeliest tokens that together reach this probability (0.95)"
    )
    parser.add_argument("--max-new-tokens", metavar="N", help="upper limit of an answer (400)")
    parser.add_argument("--seed", metavar="N", help="the same seed and messages give the same answers (1337)")
    add_model_options(parser, "model and machine")
    return parser


if __name__ == "__main__":
    sys.exit(main())
